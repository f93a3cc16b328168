"""Bilateral grids of affine color transforms: check, warp, resample and weaken them without touching pixels.

See `mvstylizer.stylizer.BilateralGrid`. A grid is so small that these operations cost almost nothing compared
with one full-size picture.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from device_runtime.motion.flow import Motion, sample
from mvstylizer.errors import MVStylizerError
from mvstylizer.stylizer import GUIDE, BilateralGrid, StylizedFrame

MAX_CELLS: Final = 65_536  # rows × columns × bins
MAX_VALUE: Final = 32.0  # coefficients in the unit range; the steepest tone curves have gains of about 10


class GridError(MVStylizerError):
    """Error raised for a map that is not a bilateral grid, or has values that no stylizer gives."""


def check_grid(grid: BilateralGrid) -> BilateralGrid:
    """Return a map that comes from outside, after checking it.

    Raises:
        GridError: It is not float32 (rows, columns, bins, 3, 4), has more than 65 536 cells, or values that
            are not finite or are beyond ±32.
    """
    if grid.shape[2:] == (3, 4):  # one transform per cell, without bins
        raise GridError(
            f"The map is an affine map {grid.shape} of an older release, not a bilateral grid",
            "Update the edge, or export the model again",
        )
    if grid.dtype != np.float32 or grid.shape[3:] != (3, 4):
        raise GridError(f"The map is {grid.dtype} {grid.shape}, not float32 (rows, columns, bins, 3, 4)")
    if not 1 <= grid.size // 12 <= MAX_CELLS:
        raise GridError(f"The map has {grid.size // 12} cells, not 1 to {MAX_CELLS}")
    if not np.isfinite(grid).all():
        raise GridError("The map has values that are not finite")
    largest = float(np.abs(grid).max())
    if largest > MAX_VALUE:
        raise GridError(f"The map has values up to {largest:.3g}; at most {MAX_VALUE:g} is possible")
    return grid


def check_map_output(outputs: Collection[str], file: str) -> None:
    """Check that a model file gives a bilateral grid.

    Args:
        outputs: Names of its outputs.
        file: Its name, for the message.

    Raises:
        GridError: It does not, as files of older releases.
    """
    if "grid" not in outputs:
        old = "an affine map of an older release" if "affine_map" in outputs else f"only {sorted(outputs)}"
        raise GridError(f"{file} gives {old}, not a bilateral grid", "Export the model again")


def grid_of(reply: StylizedFrame) -> BilateralGrid:
    """Return the map of a stylizer's reply, checked.

    Raises:
        GridError: There is none, or as raised by `check_grid`.
    """
    if reply.grid is None:
        raise GridError("The stylizer sent no map", "Check that the edge serves an MVStylizer bundle")
    return check_grid(reply.grid)


def check_reply(reply: StylizedFrame) -> StylizedFrame:
    """Return a reply after checking its map, if it has one; see `check_grid`."""
    if reply.grid is not None:
        check_grid(reply.grid)
    return reply


def moved(grid: BilateralGrid, motion: Motion) -> BilateralGrid:
    """Warp a key frame's map onto another frame.

    Args:
        grid: float32 (rows, columns, bins, 3, 4), the key frame's map.
        motion: Motion of the other frame relative to the key frame.

    Returns:
        float32 (rows, columns, bins, 3, 4).
    """
    flow = motion.flow_on(*grid.shape[:2])
    return np.stack([sample(_bin(grid, k), flow) for k in range(grid.shape[2])], 2).reshape(grid.shape)


def on_grid(grid: BilateralGrid, rows: int, columns: int, bins: int) -> BilateralGrid:
    """Resample a map linearly along each axis; models differ in their grids.

    Args:
        grid: float32 (rows', columns', bins', 3, 4).
        rows: Rows of the new grid over the same frame.
        columns: Columns of the new grid.
        bins: Bins of the new grid over the same range of luma.

    Returns:
        float32 (rows, columns, bins, 3, 4).
    """
    if grid.shape[:2] != (rows, columns):
        each = [cv2.resize(_bin(grid, k), (columns, rows)) for k in range(grid.shape[2])]
        grid = np.stack(each, 2).reshape(rows, columns, -1, 3, 4).astype(np.float32, copy=False)
    if grid.shape[2] == bins:
        return grid
    return np.tensordot(_luma_weights(bins, grid.shape[2]), grid, (1, 2)).transpose(1, 2, 0, 3, 4)


def weakened(grid: BilateralGrid, strength: float) -> BilateralGrid:
    """Blend a map with the identity: (1 - s)·identity + s·map.

    Args:
        grid: float32 (rows, columns, bins, 3, 4).
        strength: s, 0 (the original) to 1 (the full style).
    """
    if strength == 1.0:
        return grid
    identity = np.eye(3, 4, dtype=np.float32)
    return np.asarray((1 - strength) * identity + strength * grid, np.float32)


def sliced(
    grid: BilateralGrid, unit: NDArray[np.float32], *, top: int = 0, height: int | None = None
) -> NDArray[np.float32]:
    """Read a map at every pixel of a picture, or of some rows of one.

    Args:
        grid: float32 (rows, columns, bins, 3, 4).
        unit: The rows, float32 RGB (h, W, 3) in the unit range.
        top: The first of the rows.
        height: Rows of the whole picture; defaults to h.

    Returns:
        [A | b] of each pixel, float32 (h, W, 3, 4).
    """
    rows, columns, bins = grid.shape[:3]
    down = _weights(len(unit) if height is None else height, rows)[top : top + len(unit)]
    across = _weights(unit.shape[1], columns)
    luma = (unit @ np.array(GUIDE, np.float32)) * np.float32(bins - 1)
    found = np.zeros((*unit.shape[:2], 12), np.float32)
    for k in range(bins):
        hat = np.maximum(0, 1 - np.abs(luma - np.float32(k)))
        if hat.any():
            found += hat[..., None] * (across @ np.tensordot(down, _bin(grid, k), 1))
    return found.reshape(*unit.shape[:2], 3, 4)


def applied(transforms: NDArray[np.float32], unit: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return A·rgb + b of each pixel, float32 (h, W, 3), from `sliced`; not clipped."""
    colors = np.einsum("hwij,hwj->hwi", transforms[..., :3], unit) + transforms[..., 3]
    return np.asarray(colors, np.float32)


def _weights(pixels: int, cells: int) -> NDArray[np.float32]:
    """Return linear weights, float32 (pixels, cells): half-pixel centers, edges clamped."""
    places = np.clip((np.arange(pixels) + 0.5) * cells / pixels - 0.5, 0, cells - 1)
    return _hats(places, cells)


def _bin(grid: BilateralGrid, k: int) -> NDArray[np.float32]:
    """Return one bin as a picture of twelve channels, float32 (rows, columns, 12)."""
    return np.ascontiguousarray(grid[:, :, k]).reshape(*grid.shape[:2], 12)


def _luma_weights(bins: int, of: int) -> NDArray[np.float32]:
    """Return the weights of `of` bins at each of `bins` places, float32 (bins, of).

    Bin 0 is black and the last bin white; the only bin of a grid without dependence on luma is mean gray.
    """
    places = np.linspace(0, of - 1, bins) if bins > 1 else np.array([(of - 1) / 2])
    return _hats(places, of)


def _hats(places: NDArray[np.float64], nodes: int) -> NDArray[np.float32]:
    """Return linear weights of nodes at 0, 1, … for places between them, float32 (places, nodes)."""
    return np.asarray(np.maximum(0, 1 - np.abs(places[:, None] - np.arange(nodes))), np.float32)
