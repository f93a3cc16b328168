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
    """Map each image (N×3×H×W) through its LUT with trilinear interpolation; the result is not clamped.

    Written with gathers: opset 18 has no GridSample for volumes.
    """
    side, count = lut.shape[-1], len(lut)
    table = lut.transpose(0, 1).reshape(3, -1)
    where = image.transpose(0, 1).flatten(2).clamp(0, 1) * (side - 1)  # 3×N×P
    low = where.detach().floor().clamp(max=side - 2)
    part = where - low
    steps = torch.tensor([1, side, side * side], device=lut.device).view(3, 1, 1)
    first = (low.long() * steps).sum(0) + side**3 * torch.arange(count, device=lut.device).view(-1, 1)
    red, green, blue = part[0:1], part[1:2], part[2:3]
    planes = [table[:, first + corner] for corner in (0, side, side * side, side * side + side)]
    nexts = [table[:, first + corner + 1] for corner in (0, side, side * side, side * side + side)]
    lines = [a + red * (b - a) for a, b in zip(planes, nexts, strict=True)]
    front = lines[0] + green * (lines[1] - lines[0])
    back = lines[2] + green * (lines[3] - lines[2])
    mapped: Tensor = front + blue * (back - front)
    return mapped.transpose(0, 1).reshape(image.shape)


def compose(first: Tensor, second: Tensor) -> Tensor:
    """Return the LUT that applies `first`, then `second`, at the nodes of `first`."""
    side = first.shape[-1]
    return apply_lut(second, first.reshape(-1, 3, side * side, side)).view_as(first)


def resample(lut: Tensor, side: int) -> Tensor:
    """Resample a LUT to `side` nodes per axis. Going from S to 2S - 1 nodes changes no mapped color."""
    return F.interpolate(lut, size=(side, side, side), mode="trilinear", align_corners=True)
