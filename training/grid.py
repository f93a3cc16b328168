"""The guided finish of meta-smoothing: a bilateral grid of affine color transforms, not upscaled pixels.

A bilateral grid (Chen et al. 2007) has a cell for every place and luma; HDRNet (Gharbi et al. 2017) stores an
affine color transform in each. A pixel reads it trilinearly, at its own place and luma, so that the map keeps
the frame's edges and can hold any tone curve.

Each cell has a local linear model from the small content to its stylization, over the pixels near its place
and luma, regularized towards the *global* mapping (`training.local_linear`). A cell with few pixels uses
those of its luma anywhere in the picture, and without any the global mapping of gray.

Layout: grids are N×bins×12×rows×columns float32, rows [A_r· b_r, A_g· b_g, A_b· b_b] of the 3×4 matrix, unit
range; bin k is for luma k / (bins - 1). Rows and columns cover the image with half-pixel centers, edges
clamped. Luma is that of ITU-R BT.709.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mvstylizer.stylizer import GUIDE
from training.local_linear import TERMS, Gain, blur, solve, terms

STRIDE = 2  # the fit reads every second pixel of every second row: enough for the moments of a cell
SHARE_OF_ALL = 2e-3  # weight of all pixels of a luma, next to 1 for those of the cell
SHARE_OF_GRAY = 1e-5  # weight of a gray pixel of that luma, mapped globally
Mapping = Callable[[Tensor], Tensor]


def luma(image: Tensor) -> Tensor:
    """Return the BT.709 luma of N×3×H×W sRGB, N×1×H×W."""
    red, green, blue = image[:, 0:1], image[:, 1:2], image[:, 2:3]
    return GUIDE[0] * red + GUIDE[1] * green + GUIDE[2] * blue


def fit_grid(
    content: Tensor,
    stylized: Tensor,
    mapping: Callable[[Tensor], Tensor],
    gain: Gain,
    cell: int,
    bins: int,
    ridge: float,
) -> Tensor:
    """Fit the bilateral grid between a content image and its stylization.

    Args:
        content: x, N×3×H×W in the unit range; H and W are multiples of `cell`.
        stylized: y, same shape.
        mapping: The global mapping of N×3×h×w colors.
        gain: Returns its Jacobian T, N×3×3×h×w, at N×3×h×w colors.
        cell: Side of a grid cell in pixels, a multiple of `STRIDE`; the window is three cells wide (1-2-1).
        bins: Bins of luma, at least 2.
        ridge: Regularization, a variance in the unit range.

    Returns:
        N×bins×12×H/cell×W/cell.
    """
    sums = blur(_cell_sums(content, stylized, cell, bins))
    count = sums.shape[0] // bins
    nodes = torch.linspace(0, 1, bins, device=content.device)
    gray = nodes.view(1, 1, bins, 1).expand(count, 3, bins, 1)
    of_gray = _weighted_terms(gray, mapping(gray)).permute(0, 2, 1, 3).reshape(-1, 1 + TERMS, 1, 1)
    everywhere = sums.mean((2, 3), keepdim=True)
    sums = sums + SHARE_OF_ALL * everywhere + SHARE_OF_GRAY * of_gray
    transforms = solve(
        sums[:, 1:] / sums[:, :1], lambda colors: _by_bin(gain, colors.clamp(0, 1), bins), ridge
    )
    return transforms.view(count, bins, 12, *transforms.shape[2:])


def apply_grid(grid: Tensor, frame: Tensor) -> Tensor:
    """Apply a grid (N×bins×12×rows×columns) to a frame (N×3×H×W, any size) and clamp to [0, 1]."""
    bins, size = grid.shape[1], frame.shape[2:]
    guide = luma(frame) * (bins - 1)
    rows = [torch.zeros_like(frame[:, :1]) for _ in range(3)]
    for k in range(bins):
        weight = (1 - (guide - k).abs()).clamp(min=0) if bins > 1 else torch.ones_like(guide)
        dense = F.interpolate(grid[:, k], size=size, mode="bilinear", align_corners=False)
        for i in range(3):
            linear = (dense[:, 4 * i : 4 * i + 3] * frame).sum(dim=1, keepdim=True)
            rows[i] = rows[i] + weight * (linear + dense[:, 4 * i + 3 : 4 * i + 4])
    return torch.cat(rows, dim=1).clamp(0, 1)


def _cell_sums(content: Tensor, stylized: Tensor, cell: int, bins: int) -> Tensor:
    """Return the weighted mean of `_weighted_terms` over each cell, N·bins×(1 + `TERMS`)×rows×columns."""
    x, y = content[:, :, ::STRIDE, ::STRIDE], stylized[:, :, ::STRIDE, ::STRIDE]
    at = torch.arange(bins, device=x.device, dtype=x.dtype).view(1, bins, 1, 1)
    weights = (1 - (luma(x) * (bins - 1) - at).abs()).clamp(min=0)
    weighted = weights.unsqueeze(2) * _weighted_terms(x, y).unsqueeze(1)
    return F.avg_pool2d(weighted.flatten(0, 1), cell // STRIDE)


def _weighted_terms(x: Tensor, y: Tensor) -> Tensor:
    """Return a 1, which counts pixels, and `terms`, N×(1 + `TERMS`)×h×w."""
    return torch.cat([torch.ones_like(x[:, :1]), terms(x, y)], dim=1)


def _by_bin(gain: Gain, colors: Tensor, bins: int) -> Tensor:
    """Call a function of N×3×h×w for N·bins×3×rows×columns, whose bins share a picture."""
    _, _, rows, columns = colors.shape
    stacked = colors.view(-1, bins, 3, rows, columns).transpose(1, 2).reshape(-1, 3, bins * rows, columns)
    found = gain(stacked).view(-1, 3, 3, bins, rows, columns)
    return found.permute(0, 3, 1, 2, 4, 5).reshape(-1, 3, 3, rows, columns)
