"""Turn a LUT into the bilateral grid that gives a frame the same colors, on the device.

The fit of `training.grid` without a local part, in NumPy: per cell a least-squares transform from the frame's
colors to their mapped ones over the pixels near its place and luma, regularized towards the LUT's Jacobian. A
grid moves with flow, blends with other grids and is applied by the same kernel as any other map.

A LUT is float32 (S, S, S, 3), sRGB in [0, 1], indexed (blue, green, red) as in a ``.cube`` file.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mvstylizer.stylizer import GUIDE, BilateralGrid

Floats = NDArray[np.float32]

STRIDE: Final = 2  # every second pixel of every second row is enough
SHARE_OF_ALL: Final = 2e-3  # weight of all pixels of a luma, next to 1 for those of the cell
SHARE_OF_GRAY: Final = 1e-5  # weight of a gray pixel of that luma
MIDDLE: Final = np.float32(0.5)
STEP: Final = np.float32(1 / 32)  # half a cell of a 17³ LUT, for its Jacobian


def lut_grid(frame: NDArray[np.uint8], lut: Floats, *, cell: int, bins: int, ridge: float) -> BilateralGrid:
    """Fit the grid of a frame under a LUT.

    Args:
        frame: uint8 RGB (H, W, 3), at the network's size: H and W are multiples of `cell`.
        lut: float32 (S, S, S, 3).
        cell: Side of a cell in pixels, even.
        bins: Bins of luma, at least 2.
        ridge: Regularization, a variance in the unit range.

    Returns:
        float32 (H/cell, W/cell, bins, 3, 4).
    """
    colors = np.ascontiguousarray(frame[::STRIDE, ::STRIDE]) * np.float32(1 / 255)
    sums = blurred(blurred(_cell_sums(colors, apply_lut(lut, colors), cell // STRIDE, bins), 0), 1)
    gray = np.repeat(np.linspace(0, 1, bins, dtype=np.float32)[:, None], 3, axis=1)
    prior = SHARE_OF_ALL * sums.mean((0, 1)) + SHARE_OF_GRAY * _terms(gray, apply_lut(lut, gray))
    sums = sums + prior
    return _solved(sums[..., 1:] / sums[..., :1], lut, ridge)


def apply_lut(lut: Floats, colors: Floats) -> Floats:
    """Map float32 (…, 3) sRGB colors in [0, 1] through a LUT, trilinearly."""
    side = lut.shape[0]
    where = np.clip(colors, 0, 1) * np.float32(side - 1)
    low = np.minimum(where.astype(np.int32), side - 2)
    red, green, blue = (part[..., None] for part in np.moveaxis(where - low, -1, 0))
    table = lut.reshape(-1, 3)
    first = low @ np.array([1, side, side * side], np.int32)
    lines = []
    for corner in (0, side, side * side, side * side + side):
        near, far = table[first + corner], table[first + corner + 1]
        lines.append(near + red * (far - near))
    front = lines[0] + green * (lines[1] - lines[0])
    back = lines[2] + green * (lines[3] - lines[2])
    return np.asarray(front + blue * (back - front), np.float32)


def _cell_sums(x: Floats, y: Floats, cell: int, bins: int) -> Floats:
    """Return the weighted mean of `_terms` in each cell and bin, (rows, columns, bins, 22)."""
    height, width, _ = x.shape
    rows, columns = height // cell, width // cell
    place = (x @ np.array(GUIDE, np.float32))[..., None] * np.float32(bins - 1)
    weights = np.maximum(0, 1 - np.abs(place - np.arange(bins, dtype=np.float32)))

    def by_cell(values: Floats) -> Floats:
        blocks = values.reshape(rows, cell, columns, cell, -1).swapaxes(1, 2)
        return blocks.reshape(rows, columns, cell * cell, -1)

    products = by_cell(weights).swapaxes(2, 3) @ by_cell(_terms(x, y))
    return np.asarray(products / np.float32(cell * cell), np.float32)


def _terms(x: Floats, y: Floats) -> Floats:
    """Return 1, x, y, the upper products of x with itself and all of y with x, (…, 22), around mid-gray."""
    x, y = x - MIDDLE, y - MIDDLE
    upper = np.stack([x[..., i] * x[..., j] for i, j in _PAIRS], axis=-1)
    cross = (y[..., :, None] * x[..., None, :]).reshape(*x.shape[:-1], 9)
    return np.concatenate([np.ones_like(x[..., :1]), x, y, upper, cross], axis=-1)


_PAIRS: Final = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def blurred(values: Floats, axis: int) -> Floats:
    """Blur an axis with 1-2-1, edges replicated."""
    padded = np.pad(values, [(1, 1) if each == axis else (0, 0) for each in range(values.ndim)], mode="edge")
    before, at, after = (
        padded[(slice(None),) * axis + (slice(start, start + values.shape[axis]),)] for start in range(3)
    )
    return np.asarray(np.float32(0.25) * (before + after) + np.float32(0.5) * at, np.float32)


def _solved(moments: Floats, lut: Floats, ridge: float) -> BilateralGrid:
    mean_x, mean_y = moments[..., 0:3], moments[..., 3:6]
    square = np.empty((*moments.shape[:-1], 3, 3), np.float32)
    for index, (i, j) in enumerate(_PAIRS):
        square[..., i, j] = square[..., j, i] = moments[..., 6 + index]
    spread = square - mean_x[..., :, None] * mean_x[..., None, :]
    cross = moments[..., 12:].reshape(*moments.shape[:-1], 3, 3) - mean_y[..., :, None] * mean_x[..., None, :]
    start = jacobian(lut, np.clip(mean_x + MIDDLE, 0, 1))
    rest = np.linalg.solve(
        spread + np.float32(ridge) * np.eye(3, dtype=np.float32), np.swapaxes(cross - start @ spread, -1, -2)
    )
    gain = start + np.swapaxes(rest, -1, -2)
    offset = mean_y + MIDDLE - (gain @ (mean_x + MIDDLE)[..., None])[..., 0]
    return np.ascontiguousarray(np.concatenate([gain, offset[..., None]], axis=-1), np.float32)


def jacobian(lut: Floats, colors: Floats) -> Floats:
    """Return the Jacobian of a LUT at colors (…, 3), (…, 3, 3), by differences of about one cell."""
    columns = []
    for channel in range(3):
        step = STEP * np.eye(3, dtype=np.float32)[channel]
        above, below = np.clip(colors + step, 0, 1), np.clip(colors - step, 0, 1)
        width = (above - below)[..., channel : channel + 1]
        columns.append((apply_lut(lut, above) - apply_lut(lut, below)) / width)
    return np.stack(columns, axis=-1)
