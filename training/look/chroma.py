"""The palette's chroma: where each color of the content goes in the plane of color differences.

At each lightness the mean chroma follows the style's; deviations from it go through the 2×2 linear
Monge-Kantorovich transport (Pitié & Kokaram 2007), whose matrix square roots have a closed form.
Gains are bounded, and no color becomes more saturated than the style's most saturated ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.look.chroma_statistics import NOISE, at_lightness, band_means, colorfulness, saturation
from training.look.style_colors import StyleColors

ONE_LUMA = 0.05**2  # variance of luma at which chroma follows luma half as much as it could
ONE_COLOR = 0.01**2  # variance of chroma at which the bound on the gain is half open
KNEE = 0.85  # share of the cap from which chroma is compressed


@dataclass(frozen=True)
class ChromaOptions:
    """How closely chroma follows the style.

    Attributes:
        amount: Share of the way.
        max_gain: Highest gain of a deviation from the mean.
    """

    amount: float = 1.0
    max_gain: float = 2.6


def move_chroma(nodes: Tensor, content: Tensor, style: StyleColors, options: ChromaOptions) -> Tensor:
    """Return the new chroma of colors, N×2×M.

    Args:
        nodes: Opponent colors to move, N×3×M, whose luma is already the new one.
        content: Opponent pixels of the content, N×3×P, whose luma is already the new one.
        style: The style's colors.
        options: How far to go.
    """
    trust = _luma_range(content)
    overall = content[:, 1:].mean(2, keepdim=True)
    here = overall + trust * (band_means(content) - overall)
    there = style.mean + trust * (style.bands - style.mean)
    spread_here = _covariance(content[:, 1:] - at_lightness(here, content[:, 0]))
    gain = _transport(spread_here, style.covariance(trust))
    gain = _bounded(gain, _highest_gain(spread_here, options.max_gain))
    moved = at_lightness(there, nodes[:, 0]) + gain @ (nodes[:, 1:] - at_lightness(here, nodes[:, 0]))
    mixed = nodes[:, 1:] + options.amount * (moved - nodes[:, 1:])
    return cap_chroma(mixed, style.highest)


def cap_chroma(chroma: Tensor, highest: Tensor) -> Tensor:
    """Compress chroma (N×2×M) softly below the style's highest (N×1×1); to zero for a monochrome style."""
    cap = highest * colorfulness(highest)
    length = saturation(chroma)
    knee, room = KNEE * cap, (1 - KNEE) * cap
    bent = knee + room * torch.tanh((length - knee) / room.clamp(min=1e-6))
    return chroma * torch.where(length > knee, bent / length.clamp(min=1e-6), 1.0)


def _luma_range(pixels: Tensor) -> Tensor:
    """Return 0 for opponent pixels of a single luma, near 1 for a full range, N×1×1."""
    variance = pixels[:, :1].var(2, correction=0, keepdim=True)
    return variance / (variance + ONE_LUMA)


def _covariance(deviation: Tensor) -> Tensor:
    eye = NOISE * torch.eye(2, device=deviation.device)
    return deviation @ deviation.transpose(1, 2) / deviation.shape[2] + eye


def _transport(here: Tensor, there: Tensor) -> Tensor:
    """Return T with T·here·T = there, symmetric N×2×2."""
    root = _root(there)
    return root @ _inverse(_root(root @ here @ root)) @ root


def _inverse(matrix: Tensor) -> Tensor:
    det = matrix[:, 0, 0] * matrix[:, 1, 1] - matrix[:, 0, 1] * matrix[:, 1, 0]
    trace = matrix[:, 0, 0] + matrix[:, 1, 1]
    eye = torch.eye(2, device=matrix.device)
    return (trace.view(-1, 1, 1) * eye - matrix) / det.clamp(min=1e-30).view(-1, 1, 1)


def _root(matrix: Tensor) -> Tensor:
    """Return the square root of symmetric positive definite N×2×2 matrices (Cayley-Hamilton)."""
    det = (matrix[:, 0, 0] * matrix[:, 1, 1] - matrix[:, 0, 1] * matrix[:, 1, 0]).clamp(min=1e-30).sqrt()
    trace = (matrix[:, 0, 0] + matrix[:, 1, 1] + 2 * det).sqrt()
    eye = torch.eye(2, device=matrix.device)
    return (matrix + det.view(-1, 1, 1) * eye) / trace.view(-1, 1, 1)


def _highest_gain(spread: Tensor, highest: float) -> Tensor:
    """Return the highest gain (N) for a content of this N×2×2 covariance: 1 where it has one color."""
    variance = (spread[:, 0, 0] + spread[:, 1, 1]) / 2 - NOISE
    return 1 + (highest - 1) * variance / (variance + ONE_COLOR)


def _bounded(gain: Tensor, highest: Tensor) -> Tensor:
    """Scale N×2×2 gains down whose largest eigenvalue exceeds `highest` (N)."""
    half = (gain[:, 0, 0] + gain[:, 1, 1]) / 2
    det = gain[:, 0, 0] * gain[:, 1, 1] - gain[:, 0, 1] * gain[:, 1, 0]
    largest = half + (half.square() - det).clamp(min=0).sqrt()
    return gain * (highest / largest.maximum(highest)).view(-1, 1, 1)
