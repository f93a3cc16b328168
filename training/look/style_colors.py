"""What the palette needs to know of a style photo, as a fixed number of values that fit into a style code."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from training.look.chroma_statistics import BANDS, NOISE, at_lightness, band_means, highest_chroma
from training.look.opponent import to_opponent
from training.look.tone import KNOTS, Luma, measure

LUMA_VALUES = KNOTS + 7
STYLE_COLORS = LUMA_VALUES + 2 * BANDS + 2 + 9 + 1


class StyleColors(NamedTuple):
    """Colors of N style photos.

    Attributes:
        luma: Statistics of luma.
        bands: Mean chroma at each knot of luma, N×2×`BANDS`.
        mean: Mean chroma, N×2×1.
        spread: Three symmetric matrices (C_00, C_01, C_11 each), N×3×3: the covariance of the deviations of
            chroma from t·bands + (1 - t)·mean is C_0 + t·C_1 + t²·C_2.
        highest: Chroma that 98 % of the pixels stay below, N×1×1.
    """

    luma: Luma
    bands: Tensor
    mean: Tensor
    spread: Tensor
    highest: Tensor

    def covariance(self, trust: Tensor) -> Tensor:
        """Return the N×2×2 covariance around bands trusted by N×1×1 `trust`; see `spread`."""
        t = trust.squeeze(2)
        upper = self.spread[:, 0] + t * self.spread[:, 1] + t * t * self.spread[:, 2]
        c00, c01, c11 = upper[:, 0:1], upper[:, 1:2], upper[:, 2:3]
        noise = NOISE * torch.eye(2, device=t.device)
        return torch.cat([c00, c01, c01, c11], dim=1).view(-1, 2, 2) + noise

    def pack(self) -> Tensor:
        """Return everything as N×`STYLE_COLORS`."""
        parts = [*self.luma, self.bands, self.mean, self.spread, self.highest]
        return torch.cat([part.flatten(1) for part in parts], dim=1)


def style_colors(style: Tensor) -> StyleColors:
    """Measure N×3×h×w style thumbnails (sRGB in [0, 1])."""
    opponent = to_opponent(style)
    pixels = opponent.flatten(2)
    mean = pixels[:, 1:].mean(2, keepdim=True)
    bands = band_means(pixels)
    apart = pixels[:, 1:] - mean
    by_luma = at_lightness(bands - mean, pixels[:, 0])
    cross = _upper(apart, by_luma) + _upper(by_luma, apart)
    spread = torch.stack([_upper(apart, apart), -cross, _upper(by_luma, by_luma)], dim=1)
    return StyleColors(measure(opponent[:, :1]), bands, mean, spread, highest_chroma(pixels))


def unpack(values: Tensor) -> StyleColors:
    """Return the colors from N×`STYLE_COLORS`, the inverse of `StyleColors.pack`."""
    sizes = [KNOTS, *[1] * 7, 2 * BANDS, 2, 9, 1]
    parts = cut(values, sizes)
    bands, mean, spread, highest = parts[8:]
    return StyleColors(
        Luma(*parts[:8]),
        bands.view(-1, 2, BANDS),
        mean.view(-1, 2, 1),
        spread.view(-1, 3, 3),
        highest.view(-1, 1, 1),
    )


def cut(values: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Cut N×sum(sizes) into N×size each; as slices, since a split exports to a sequence."""
    ends = list(accumulate(sizes))
    return [values[:, end - size : end] for end, size in zip(ends, sizes, strict=True)]


def _upper(a: Tensor, b: Tensor) -> Tensor:
    """Return the entries 00, 01 (mean of 01 and 10) and 11 of the N×2×2 product a·bᵀ / pixels, N×3."""
    product = a @ b.transpose(1, 2) / a.shape[2]
    off = (product[:, 0, 1] + product[:, 1, 0]) / 2
    return torch.stack([product[:, 0, 0], off, product[:, 1, 1]], dim=1)
