"""A stylizer that `mvstylizer export` can export: change what it computes, and keep its members.

This one is a global color transfer: mean and deviation of each channel, from the style (Reinhard et al.,
2001). It works as it is; its one weight is how much of the style it applies.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

SIDE = 9  # nodes of the look-up table along each axis


class MyStyle(nn.Module):
    """Six members are all that the kit needs; images are N×3×h×w float32 RGB in [0, 1]."""

    kind: Literal["lut"] = "lut"  # predict returns a look-up table; others are image, affine and grid
    style_code_size = 6  # numbers that describe a style
    network_pixels = 144 * 256  # larger frames are reduced to this many pixels before predict
    style_pixels = 144 * 256  # the same for the style photo
    cell = 16  # the content's sides are multiples of it, and a cell of the map is as large

    def __init__(self) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.tensor([0.8]))
        nodes = torch.linspace(0, 1, SIDE)
        blue, green, red = torch.meshgrid(nodes, nodes, nodes, indexing="ij")
        self.register_buffer("colors", torch.stack([red, green, blue]), persistent=False)

    def encode_style(self, style: Tensor) -> Tensor:
        """Return the style code, N×6."""
        return torch.cat(moments(style), dim=1)

    def predict(self, content: Tensor, code: Tensor) -> Tensor:
        """Return the look-up table, N×3×9×9×9, indexed (blue, green, red)."""
        mean, deviation = moments(content)
        to_mean, to_deviation = code[:, :3], code[:, 3:]
        gain = (to_deviation / deviation).clamp(0.3, 3)
        colors = self.get_buffer("colors").flatten(1).unsqueeze(0)
        moved = (colors - mean.unsqueeze(2)) * gain.unsqueeze(2) + to_mean.unsqueeze(2)
        mixed = colors + self.share * (moved - colors)
        return mixed.view(-1, 3, SIDE, SIDE, SIDE)


def moments(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of each channel, N×3 each; the deviation is never 0."""
    mean = image.mean((2, 3))
    variance = (image - mean[:, :, None, None]).square().mean((2, 3))
    return mean, (variance + 1e-4).sqrt()


def build() -> MyStyle:
    """Return the stylizer; `--weights` loads its state dict afterwards."""
    return MyStyle()
