"""Protect skin: hold a key frame's map back where the frame has the colors of skin.

Skin of every complexion lies in a narrow wedge of hue: blood and melanin set it, lightness and saturation
vary (hence the "skin line" of a vectorscope). Pixels in that wedge are counted per cell of the bilateral
grid, and the cells' transforms are drawn towards the identity by their share of skin, as a colorist's soft
window would. The map stays a map: it moves with the flow, and the kernels do not change.

Wood, sand and brick have the same hues; they are held back, too, so this is an option, not a default.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from device_runtime.stylizers.lut_grid import blurred
from device_runtime.stylizers.resize import area_weights
from mvstylizer.stylizer import GUIDE, BilateralGrid

Floats = NDArray[np.float32]

HELD: Final = 0.7  # of the change, where a cell is all skin: more looks cut out
FULL: Final = 0.5  # share of skin from which a cell counts as all skin: eyes, brows and lips belong to a face
HUE: Final = (20, 32, 62, 74)  # degrees from -Cb towards Cr: none below, all between, none above
SATURATION: Final = (0.05, 0.10, 0.40, 0.55)  # chroma over luma, likewise
DARK: Final = (0.08, 0.2)  # luma below which hue means nothing, and from which it is trusted
COLOR: Final = (0.05, 0.2)  # share of chroma that a map keeps: black and white below, color above
EMPTY: Final = np.float32(1e-3)  # pixels per pixel: draws cells and bins without pixels to their neighbors


def protected(grid: BilateralGrid, frame: NDArray[np.uint8]) -> BilateralGrid:
    """Return a map that changes skin less than half as much.

    Args:
        grid: float32 (rows, columns, bins, 3, 4), the map of the frame.
        frame: uint8 RGB (H, W, 3), the frame at any size.
    """
    rows, columns, bins = grid.shape[:3]
    share = skin_share(frame, rows, columns, bins)
    weight = np.float32(HELD) * np.minimum(1, share / np.float32(FULL))[..., None, None]
    return np.asarray(grid + weight * (_original(grid) - grid), np.float32)


def _original(grid: BilateralGrid) -> Floats:
    """Return the transform to the original colors, or to their luma for a map to black and white, (3, 4)."""
    from_luma = np.tile(np.array(GUIDE, np.float32), (3, 1))
    to_chroma = np.eye(3, dtype=np.float32) - from_luma
    kept = np.linalg.norm(to_chroma @ grid[..., :3] @ to_chroma, axis=(-2, -1)).mean()
    share = np.interp(kept / np.linalg.norm(to_chroma), COLOR, (0, 1))
    colors = from_luma + np.float32(share) * to_chroma
    return np.concatenate([colors, np.zeros((3, 1), np.float32)], axis=1)


def skin_share(frame: NDArray[np.uint8], rows: int, columns: int, bins: int) -> Floats:
    """Return the share of skin among the pixels of each cell and bin of luma, float32 (rows, columns, bins).

    Args:
        frame: uint8 RGB (H, W, 3).
        rows: Rows of the grid over the frame.
        columns: Columns of the grid.
        bins: Bins of luma.
    """
    unit = frame.astype(np.float32) / np.float32(255)
    place = np.minimum(unit @ np.array(GUIDE, np.float32), 1) * np.float32(bins - 1)
    hats = np.maximum(0, 1 - np.abs(place[..., None] - np.arange(bins, dtype=np.float32)))
    skin = skin_mask(unit)[..., None]
    counted = _by_cell(np.concatenate([hats, hats * skin], axis=-1), rows, columns)
    counted = blurred(blurred(counted, 0), 1)
    pixels, of_skin = (blurred(part, 2) for part in (counted[..., :bins], counted[..., bins:]))
    overall = of_skin.sum(2, keepdims=True) / (pixels.sum(2, keepdims=True) + EMPTY)
    return np.asarray((of_skin + EMPTY * overall) / (pixels + EMPTY), np.float32)


def skin_mask(unit: Floats) -> Floats:
    """Return how much each pixel looks like skin, float32 (H, W) in [0, 1].

    Args:
        unit: float32 sRGB (H, W, 3) in the unit range.
    """
    luma = unit @ np.array([0.299, 0.587, 0.114], np.float32)
    red, blue = 0.713 * (unit[..., 0] - luma), 0.564 * (unit[..., 2] - luma)  # Cr and Cb of BT.601
    hue = np.interp(np.degrees(np.arctan2(red, -blue)), HUE, (0, 1, 1, 0))
    saturation = np.hypot(red, blue) / np.maximum(luma, DARK[0])
    trusted = np.interp(saturation, SATURATION, (0, 1, 1, 0)) * np.interp(luma, DARK, (0, 1))
    return np.asarray(hue * trusted, np.float32)


def _by_cell(values: Floats, rows: int, columns: int) -> Floats:
    """Return the mean of (H, W, C) values in each of rows × columns equal parts."""
    down, across = (
        area_weights(side, count) for side, count in zip(values.shape[:2], (rows, columns), strict=True)
    )
    return np.asarray(np.tensordot(across, np.tensordot(down, values, 1), (1, 1)).swapaxes(0, 1), np.float32)
