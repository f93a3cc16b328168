"""The guided finish of meta-smoothing: a coarse grid of affine colour maps instead of upscaled pixels.

Between the small content x and its stylization y, each cell's neighbourhood has a least-squares map
y ≈ A x + b (the local linear model of the guided filter, He et al. 2010, with a colour guide). The fit is
regularised towards the *global* colour map (T, t): with e = y - (T x + t),

    R = cov(e, x) · (cov(x, x) + ridge·I)^-1,   A = T + R,   b = t + mean(e) - R·mean(x).

The map is smooth, so it is bilinearly enlarged to any size and applied to the full-resolution frame: no
upscaled pixel is ever shown, every edge of the result is an edge of the frame.

Layout: maps are N×12×gh×gw float32, rows [A_r· b_r, A_g· b_g, A_b· b_b] of the 3×4 matrix, unit range; the
grid covers the image with half-pixel centres (align_corners=False), edges clamped.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def fit_map(content: Tensor, stylized: Tensor, colour_map: Tensor, cell: int, ridge: float) -> Tensor:
    """Fit the grid of affine maps between a content image and its stylization.

    Args:
        content: x, N×3×H×W in the unit range; H and W are multiples of `cell`.
        stylized: y, same shape.
        colour_map: Global map [T | t] to stay close to, N×3×4.
        cell: Pixels a grid cell covers, each way; the window is three cells wide (1-2-1 weights).
        ridge: Regularisation, a variance in unit range.

    Returns:
        N×12×H/cell×W/cell.
    """
    x, y = content, stylized
    global_part = _broadcast_map(colour_map, x)
    e = y - global_part
    products = [x[:, i : i + 1] * x[:, j : j + 1] for i, j in _PAIRS]
    crosses = [e[:, i : i + 1] * x[:, j : j + 1] for i in range(3) for j in range(3)]
    moments = _window_mean(torch.cat([x, e, *products, *crosses], dim=1), cell)
    mean_x, mean_e = moments[:, 0:3], moments[:, 3:6]
    cov_xx = [moments[:, 6 + k] - mean_x[:, i] * mean_x[:, j] for k, (i, j) in enumerate(_PAIRS)]
    cov_ex = [[moments[:, 12 + 3 * i + j] - mean_e[:, i] * mean_x[:, j] for j in range(3)] for i in range(3)]
    inverse = _inverse_symmetric(
        [c + ridge if i == j else c for c, (i, j) in zip(cov_xx, _PAIRS, strict=True)]
    )
    rows = []
    for i in range(3):
        gains = [sum((cov_ex[i][k] * inverse[k][j] for k in range(3)), _zero(mean_x)) for j in range(3)]
        offset = mean_e[:, i] - sum((gains[j] * mean_x[:, j] for j in range(3)), _zero(mean_x))
        rows += [*gains, offset]
    residual = torch.stack(rows, dim=1)
    return _blur(residual) + colour_map.flatten(1)[:, :, None, None]


def apply_map(affine_map: Tensor, frame: Tensor) -> Tensor:
    """Apply a map (N×12×gh×gw) to a frame (N×3×H×W, any size) and clamp to [0, 1]."""
    dense = F.interpolate(affine_map, size=frame.shape[2:], mode="bilinear", align_corners=False)
    rows = [(dense[:, 4 * i : 4 * i + 3] * frame).sum(dim=1) + dense[:, 4 * i + 3] for i in range(3)]
    return torch.stack(rows, dim=1).clamp(0, 1)


_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def _zero(mean: Tensor) -> Tensor:
    return torch.zeros_like(mean[:, 0])


def _broadcast_map(colour_map: Tensor, x: Tensor) -> Tensor:
    m = colour_map[:, :, :, None, None]
    return torch.stack([(m[:, i, :3] * x).sum(dim=1) + m[:, i, 3] for i in range(3)], dim=1)


def _window_mean(x: Tensor, cell: int) -> Tensor:
    return _blur(F.avg_pool2d(x, cell))


def _blur(x: Tensor) -> Tensor:
    """Blur with 1-2-1 both ways, edges replicated (slices and sums: exact in float32 under autocast)."""
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
