"""The guided finish of meta-smoothing: a coarse grid of affine color maps instead of upscaled pixels.

The neighborhood of each cell has a least-squares map y ≈ A x + b from the small content x to its stylization
y (the local linear model of the guided filter, He et al. 2010, with a color guide). The fit is regularized
towards the *global* grade, whose gain at the cell's color is T:

    R = (cov(y, x) - T·cov(x, x)) · (cov(x, x) + ridge·I)^-1,   A = detail·(T + R),   b = mean(y) - A·mean(x).

So a flat area keeps the contrast of the grade, whatever the noise in y. `detail` scales the contrast around
each local mean.

The map is smooth. It is enlarged bilinearly to any size and applied to the full-resolution frame, so the
result contains no upscaled pixels, and every edge of it is an edge of the frame.

Layout: maps are N×12×gh×gw float32, rows [A_r· b_r, A_g· b_g, A_b· b_b] of the 3×4 matrix, unit range; the
grid covers the image with half-pixel centers (align_corners=False), edges clamped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

MIDDLE = 0.5  # moments around it keep two more digits of a flat area's covariance in float32
Gain = Callable[[Tensor], Tensor]


def fit_map(
    content: Tensor, stylized: Tensor, gain: Gain, cell: int, ridge: float, detail: Tensor | None = None
) -> Tensor:
    """Fit the grid of affine maps between a content image and its stylization.

    Args:
        content: x, N×3×H×W in the unit range; H and W are multiples of `cell`.
        stylized: y, same shape.
        gain: Returns the gain T of the grade, N×3×3×h×w, for the cells' mean colors, N×3×h×w.
        cell: Side of a grid cell in pixels; the window is three cells wide (1-2-1 weights).
        ridge: Regularization, a variance in unit range.
        detail: Factor on local contrast, N; None means 1.

    Returns:
        N×12×H/cell×W/cell.
    """
    x, y = content - MIDDLE, stylized - MIDDLE
    products = [x[:, i : i + 1] * x[:, j : j + 1] for i, j in _PAIRS]
    crosses = [y[:, i : i + 1] * x[:, j : j + 1] for i in range(3) for j in range(3)]
    moments = _window_mean(torch.cat([x, y, *products, *crosses], dim=1), cell)
    mean_x, mean_y = moments[:, 0:3], moments[:, 3:6]
    cov_xx = {(i, j): moments[:, 6 + k] - mean_x[:, i] * mean_x[:, j] for k, (i, j) in enumerate(_PAIRS)}
    cov_yx = [[moments[:, 12 + 3 * i + j] - mean_y[:, i] * mean_x[:, j] for j in range(3)] for i in range(3)]
    start = gain(mean_x + MIDDLE)
    inverse = _inverse_symmetric([c + ridge if i == j else c for (i, j), c in cov_xx.items()])
    factor = 1.0 if detail is None else detail[:, None, None]
    rows = []
    for i in range(3):
        known = [_sum(start[:, i, k] * cov_xx[min(k, j), max(k, j)] for k in range(3)) for j in range(3)]
        left = [cov_yx[i][j] - known[j] for j in range(3)]
        more = [_sum(left[k] * inverse[k][j] for k in range(3)) for j in range(3)]
        gains = [factor * (start[:, i, j] + more[j]) for j in range(3)]
        level = mean_y[:, i] + MIDDLE - _sum(gains[j] * (mean_x[:, j] + MIDDLE) for j in range(3))
        rows += [*gains, level]
    return _blur(torch.stack(rows, dim=1))


def apply_map(affine_map: Tensor, frame: Tensor) -> Tensor:
    """Apply a map (N×12×gh×gw) to a frame (N×3×H×W, any size) and clamp to [0, 1]."""
    dense = F.interpolate(affine_map, size=frame.shape[2:], mode="bilinear", align_corners=False)
    rows = [(dense[:, 4 * i : 4 * i + 3] * frame).sum(dim=1) + dense[:, 4 * i + 3] for i in range(3)]
    return torch.stack(rows, dim=1).clamp(0, 1)


_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def _sum(terms: Iterable[Tensor]) -> Tensor:
    return reduce(torch.add, terms)


def _window_mean(x: Tensor, cell: int) -> Tensor:
    return _blur(F.avg_pool2d(x, cell))


def _blur(x: Tensor) -> Tensor:
    """Blur with 1-2-1 in both directions, edges replicated (slices and sums stay float32 under autocast)."""
    p = F.pad(x, (1, 1, 1, 1), mode="replicate")
    p = (p[:, :, :-2] + 2 * p[:, :, 1:-1] + p[:, :, 2:]) / 4
    return (p[:, :, :, :-2] + 2 * p[:, :, :, 1:-1] + p[:, :, :, 2:]) / 4


def _inverse_symmetric(upper: list[Tensor]) -> list[list[Tensor]]:
    """Invert symmetric positive definite 3×3 matrices [a00, a01, a02, a11, a12, a22] by cofactors."""
    a, b, c, d, e, f = upper
    c00, c01, c02 = d * f - e * e, c * e - b * f, b * e - c * d
    c11, c12, c22 = a * f - c * c, b * c - a * e, a * d - b * b
    scale = 1 / (a * c00 + b * c01 + c * c02)
    i00, i01, i02, i11, i12, i22 = (m * scale for m in (c00, c01, c02, c11, c12, c22))
    return [[i00, i01, i02], [i01, i11, i12], [i02, i12, i22]]
