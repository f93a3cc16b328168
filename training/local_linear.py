"""Local linear color models: least squares of stylized on content colors, regularized towards a known gain.

The model of the guided filter (He et al. 2010) with a color guide. Over some pixels, y ≈ A x + b with

    R = (cov(y, x) - T·cov(x, x)) · (cov(x, x) + ridge·I)^-1,   A = T + R,   b = mean(y) - A·mean(x),

where T is the gain of a global mapping: flat pixels keep its contrast, whatever the noise in y. The 3×3
inverse has a closed form, so that the fit exports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

MIDDLE = 0.5  # moments around it keep two more digits of a flat area's covariance in float32
TERMS = 3 + 3 + 6 + 9
Gain = Callable[[Tensor], Tensor]

_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def terms(content: Tensor, stylized: Tensor) -> Tensor:
    """Return x, y, the products of x with itself and of y with x for each pixel, around mid-gray.

    Args:
        content: x, N×3×H×W in the unit range.
        stylized: y, same shape.

    Returns:
        N×`TERMS`×H×W, whose means over any pixels are the input of `solve`.
    """
    x, y = content - MIDDLE, stylized - MIDDLE
    products = [x[:, i : i + 1] * x[:, j : j + 1] for i, j in _PAIRS]
    crosses = [y[:, i : i + 1] * x[:, j : j + 1] for i in range(3) for j in range(3)]
    return torch.cat([x, y, *products, *crosses], dim=1)


def solve(moments: Tensor, gain: Gain, ridge: float) -> Tensor:
    """Return the transforms of cells from their means of `terms`.

    Args:
        moments: N×`TERMS`×h×w.
        gain: Returns the gain T of the global mapping, N×3×3×h×w, for the cells' mean colors, N×3×h×w.
        ridge: Regularization, a variance in unit range.

    Returns:
        N×12×h×w, rows [A_r· b_r, A_g· b_g, A_b· b_b], unit range.
    """
    mean_x, mean_y = moments[:, 0:3], moments[:, 3:6]
    cov_xx = {(i, j): moments[:, 6 + k] - mean_x[:, i] * mean_x[:, j] for k, (i, j) in enumerate(_PAIRS)}
    cov_yx = [[moments[:, 12 + 3 * i + j] - mean_y[:, i] * mean_x[:, j] for j in range(3)] for i in range(3)]
    start = gain(mean_x + MIDDLE)
    inverse = _inverse_symmetric([c + ridge if i == j else c for (i, j), c in cov_xx.items()])
    rows = []
    for i in range(3):
        known = [_sum(start[:, i, k] * cov_xx[min(k, j), max(k, j)] for k in range(3)) for j in range(3)]
        left = [cov_yx[i][j] - known[j] for j in range(3)]
        more = [_sum(left[k] * inverse[k][j] for k in range(3)) for j in range(3)]
        gains = [start[:, i, j] + more[j] for j in range(3)]
        level = mean_y[:, i] + MIDDLE - _sum(gains[j] * (mean_x[:, j] + MIDDLE) for j in range(3))
        rows += [*gains, level]
    return torch.stack(rows, dim=1)


def blur(x: Tensor) -> Tensor:
    """Blur with 1-2-1 in both directions, edges replicated (slices and sums stay float32 under autocast)."""
    p = F.pad(x, (1, 1, 1, 1), mode="replicate")
    p = (p[:, :, :-2] + 2 * p[:, :, 1:-1] + p[:, :, 2:]) / 4
    return (p[:, :, :, :-2] + 2 * p[:, :, :, 1:-1] + p[:, :, :, 2:]) / 4


def _sum(values: Iterable[Tensor]) -> Tensor:
    return reduce(torch.add, values)


def _inverse_symmetric(upper: list[Tensor]) -> list[list[Tensor]]:
    """Invert symmetric positive definite 3×3 matrices [a00, a01, a02, a11, a12, a22] by cofactors."""
    a, b, c, d, e, f = upper
    c00, c01, c02 = d * f - e * e, c * e - b * f, b * e - c * d
    c11, c12, c22 = a * f - c * c, b * c - a * e, a * d - b * b
    scale = 1 / (a * c00 + b * c01 + c * c02)
    i00, i01, i02, i11, i12, i22 = (m * scale for m in (c00, c01, c02, c11, c12, c22))
    return [[i00, i01, i02], [i01, i11, i12], [i02, i12, i22]]
