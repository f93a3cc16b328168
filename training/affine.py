"""The guided finish of meta-smoothing: a coarse grid of affine color maps instead of upscaled pixels.

The neighborhood of each cell has a local linear model from the small content to its stylization, regularized
towards the *global* grade (`training.local_linear`). `detail` scales the contrast around each local mean.

The map is smooth. It is enlarged bilinearly to any size and applied to the full-resolution frame, so the
result contains no upscaled pixels, and every edge of it is an edge of the frame.

Layout: maps are N×12×gh×gw float32, rows [A_r· b_r, A_g· b_g, A_b· b_b] of the 3×4 matrix, unit range; the
grid covers the image with half-pixel centers (align_corners=False), edges clamped.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from training.local_linear import Gain, blur, solve, terms


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
    moments = blur(F.avg_pool2d(terms(content, stylized), cell))
    return blur(solve(moments, gain, ridge, detail))


def apply_map(affine_map: Tensor, frame: Tensor) -> Tensor:
    """Apply a map (N×12×gh×gw) to a frame (N×3×H×W, any size) and clamp to [0, 1]."""
    dense = F.interpolate(affine_map, size=frame.shape[2:], mode="bilinear", align_corners=False)
    rows = [(dense[:, 4 * i : 4 * i + 3] * frame).sum(dim=1) + dense[:, 4 * i + 3] for i in range(3)]
    return torch.stack(rows, dim=1).clamp(0, 1)
