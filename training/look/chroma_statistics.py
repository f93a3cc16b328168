"""Statistics of chroma, in the opponent space of `training.look.opponent`."""

from __future__ import annotations

import torch
from torch import Tensor

from training.look.color_statistics import hats
from training.look.tone import quantile, shares_below

BANDS = 6  # knots of lightness at which mean chroma is measured
PRIOR = 0.04  # share of the pixels by which a band's mean is drawn to the overall mean
NOISE = 0.006**2  # variance of chroma that counts as none
CAP_QUANTILE = 0.98
GREY = (0.012, 0.045)  # the style's highest chroma at which it counts as monochrome, and as colored


def band_means(pixels: Tensor) -> Tensor:
    """Return the mean chroma of opponent pixels (N×3×P) at each knot of luma, N×2×`BANDS`."""
    weights = hats(pixels[:, 0].clamp(0, 1), BANDS)
    count = pixels.shape[2] * PRIOR
    overall = pixels[:, 1:].mean(2, keepdim=True)
    return (pixels[:, 1:] @ weights + count * overall) / (weights.sum(1, keepdim=True) + count)


def at_lightness(means: Tensor, lightness: Tensor) -> Tensor:
    """Interpolate band means at N×P lightnesses, N×2×P."""
    return means @ hats(lightness.clamp(0, 1), BANDS).transpose(1, 2)


def highest_chroma(pixels: Tensor) -> Tensor:
    """Return the chroma that 98 % of opponent pixels (N×3×P) stay below, N×1×1."""
    shares = shares_below(2 * saturation(pixels[:, 1:]).squeeze(1))
    level = torch.full_like(shares[:, :1], CAP_QUANTILE)
    return quantile(shares, level).unsqueeze(2) / 2


def colorfulness(highest: Tensor) -> Tensor:
    """Return 0 for the highest chroma (N×1×1) of a monochrome picture, 1 for that of a colored one."""
    return ((highest - GREY[0]) / (GREY[1] - GREY[0])).clamp(0, 1)


def saturation(chroma: Tensor) -> Tensor:
    """Return the length of N×2×P chroma, N×1×P."""
    return (chroma.square().sum(1, keepdim=True) + 1e-12).sqrt()
