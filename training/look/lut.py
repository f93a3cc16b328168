"""3D lookup tables (LUTs) as tensors: identity, application, composition, resampling.

A LUT is an N×3×S×S×S float32 tensor of sRGB in [0, 1], indexed (blue, green, red) as in a ``.cube`` file,
where red varies fastest. Images are N×3×H×W float32 sRGB in [0, 1].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def identity_lut(side: int) -> Tensor:
    """Return the LUT that maps every color to itself, 3×S×S×S."""
    nodes = torch.linspace(0, 1, side)
    blue, green, red = torch.meshgrid(nodes, nodes, nodes, indexing="ij")
    return torch.stack([red, green, blue])


def apply_lut(lut: Tensor, image: Tensor) -> Tensor:
    """Map each image (N×3×H×W) through its LUT with trilinear interpolation; the result is not clamped."""
    where = (2 * image.clamp(0, 1) - 1).permute(0, 2, 3, 1).unsqueeze(1)
    return F.grid_sample(lut, where, align_corners=True, padding_mode="border").squeeze(2)


def compose(first: Tensor, second: Tensor) -> Tensor:
    """Return the LUT that applies `first`, then `second`, at the nodes of `first`."""
    side = first.shape[-1]
    return apply_lut(second, first.reshape(-1, 3, side * side, side)).view_as(first)


def resample(lut: Tensor, side: int) -> Tensor:
    """Resample a LUT to `side` nodes per axis. Going from S to 2S - 1 nodes changes no mapped color."""
    return F.interpolate(lut, size=(side, side, side), mode="trilinear", align_corners=True)
