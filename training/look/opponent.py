"""Luma and two color differences of gamma-encoded sRGB (Rec. 601): the space in which the palette works.

Edges are mostly luma: a curve over luma alone scales them without distorting them. The space is linear in
sRGB, so a transport in it is as smooth as one in RGB, and the phone needs no cube roots.
"""

from __future__ import annotations

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
RED_SCALE, BLUE_SCALE = 0.713, 0.564  # so that both differences span [-0.5, 0.5]

OVERSHOOT = 1.3


def to_opponent(rgb: Tensor) -> Tensor:
    """Convert N×3×… sRGB in [0, 1] to luma in [0, 1] and red and blue difference in [-0.5, 0.5]."""
    red, green, blue = rgb[:, 0], rgb[:, 1], rgb[:, 2]
    luma = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return torch.stack([luma, RED_SCALE * (red - luma), BLUE_SCALE * (blue - luma)], dim=1)


def from_opponent(opponent: Tensor) -> Tensor:
    """Convert back to sRGB in [0, 1].

    Colors outside it lose chroma at constant luma until `OVERSHOOT` times what fits; the rest is clipped.
    """
    luma = opponent[:, :1].clamp(0, 1)
    red, blue = opponent[:, 1:2] / RED_SCALE, opponent[:, 2:] / BLUE_SCALE
    away = torch.cat([red, -(LUMA[0] * red + LUMA[2] * blue) / LUMA[1], blue], dim=1)
    room = torch.where(away > 0, 1 - luma, luma) / away.abs().clamp(min=1e-6)
    return (luma + away * room.amin(1, keepdim=True).mul(OVERSHOOT).clamp(max=1)).clamp(0, 1)
