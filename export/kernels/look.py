"""``style_encoder.tflite`` and ``look.tflite``: the global look and palette for phones.

    style_encoder.tflite  thumb float32 [1, 96, 96, 3]              → style_code [1, K]
    look.tflite           thumb float32 [1, 96, 96, 3], style_code  → lut [1, 17, 17, 17, 3]

Traced to ONNX like the edge's files, then converted operator by operator (`onnx_graph`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from export.kernels.lite_contract import LOOK, STYLE_ENCODER, lite_contract
from export.kernels.onnx_graph import as_tflite
from export.onnx_models.graphs import traced
from training.look.heads import GLOBAL_CODE, GlobalHeads
from training.look.network import THUMBNAIL

_EXAMPLE = (1, THUMBNAIL, THUMBNAIL, 3)


class _StyleEncoder(nn.Module):
    def __init__(self, heads: GlobalHeads) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, thumb: Tensor) -> Tensor:
        return self.heads.encode_style(thumb.permute(0, 3, 1, 2))


class _Look(nn.Module):
    def __init__(self, heads: GlobalHeads) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, thumb: Tensor, style_code: Tensor) -> Tensor:
        return self.heads.decide(thumb.permute(0, 3, 1, 2), style_code).lut.permute(0, 2, 3, 4, 1)


def build_style_encoder(heads: GlobalHeads, *, half: bool = True) -> bytes:
    """Build ``style_encoder.tflite`` and return its content.

    Args:
        heads: In evaluation mode.
        half: Store the weights in half precision; arithmetic is single precision either way.

    Raises:
        KernelBuildError: An operator has no TFLite form.
        MissingExtraError: TensorFlow is not installed.
    """
    example = (torch.rand(_EXAMPLE),)
    graph = traced(_StyleEncoder(heads), example, ["thumb"], ["style_code"])
    return as_tflite(graph, *lite_contract(STYLE_ENCODER, GLOBAL_CODE), half=half)


def build_look(heads: GlobalHeads, *, half: bool = True) -> bytes:
    """Build ``look.tflite``; see `build_style_encoder`."""
    example = torch.rand(_EXAMPLE), torch.rand(1, GLOBAL_CODE)
    graph = traced(_Look(heads), example, ["thumb", "style_code"], ["lut"])
    return as_tflite(graph, *lite_contract(LOOK, GLOBAL_CODE), half=half)
