"""What a stylizer costs: multiply-accumulates of its convolutions and matrix products, counted by PyTorch."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from training.stylizer import StylizerNetwork, network_size, style_size

WIDTH, HEIGHT = 1920, 1080  # of the frame and of the style photo


@torch.no_grad()
def stylizer_macs(stylizer: StylizerNetwork) -> dict[str, Any]:
    """Count one affine map for a 1080p frame; the guided finish adds none, it is no product of matrices.

    Returns:
        ``macs``, and ``macs_size``, the network's input then.
    """
    height, width = network_size(HEIGHT, WIDTH, stylizer.dims)
    with FlopCounterMode(display=False) as counter:
        stylizer.affine_map(torch.rand(1, 3, height, width), torch.rand(1, stylizer.style_code_size))
    return {"macs": counter.get_total_flops() // 2, "macs_size": f"{width}x{height}"}


@torch.no_grad()
def style_encoder_macs(stylizer: StylizerNetwork) -> dict[str, Any]:
    """Count one style code of a 1080p photo; see `stylizer_macs`."""
    height, width = style_size(HEIGHT, WIDTH, stylizer.dims)
    with FlopCounterMode(display=False) as counter:
        stylizer.encode_style(torch.rand(1, 3, height, width))
    return {"macs": counter.get_total_flops() // 2, "macs_size": f"{width}x{height}"}
