"""Carry a style from the SDR view of a picture to the codes of an HDR picture, as a bilateral grid again.

The exact way takes each pixel through its SDR view (`hdr.Hdr`), at ten times the cost of a grid, on every
frame. Instead the grid itself is converted, once per key frame: in each cell the exact way is computed for
some colors, and affine transforms of HDR codes over HDR luma are fitted to it. All cells take the same
colors, so that one small system of equations is solved for all of them. What is fitted is the change: no
style gives no change.

Fitted to the exact way on the frames of a cartoon in five styles, the mean ΔE2000 of the SDR views is 0.3 to
1.2 with 3,000 pixels of the key frame; with random colors alone, 0.5 to 2.2.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from device_runtime.media.hdr import Hdr, View
from mvstylizer.stylizer import GUIDE, BilateralGrid

BINS: Final = 12  # SDR white is at 58 % (PQ) or 75 % (HLG) of the codes
OWN_COLORS: Final = 2400
OTHER_COLORS: Final = 800
OTHER_WEIGHT: Final = 0.3  # they hold the fit where the key frame has no such color
RIDGE: Final = 1e-6

Values = NDArray[np.float32]


def hdr_grid(grid: BilateralGrid, hdr: Hdr, picture: Values) -> BilateralGrid:
    """Convert a grid on the SDR view of a picture to one on its HDR codes.

    Args:
        grid: float32 (rows, columns, bins, 3, 4).
        hdr: The picture's curves.
        picture: Its codes, R', G', B' of BT.2020 in the unit range, float32 (h, w, 3), at any size.

    Returns:
        float32 (rows, columns, 12, 3, 4).
    """
    colors = np.concatenate([_pixels(picture), _others(hdr)])
    view = hdr.view(colors)
    changes = hdr.codes(_styled(grid, view), View(view.rgb[:, None], view.gain[:, None])) - colors[:, None]
    weights = np.full(len(colors), 1.0)
    weights[-OTHER_COLORS:] = OTHER_WEIGHT
    basis = _basis(colors, colors, BINS).astype(np.float64)
    weighted = basis * weights[:, None] / len(colors)
    gram = weighted.T @ basis + RIDGE * np.eye(basis.shape[1])
    found = np.linalg.solve(gram, weighted.T @ changes.reshape(len(colors), -1))
    rows, columns = grid.shape[:2]
    cells = found.reshape(BINS, 4, rows, columns, 3).transpose(2, 3, 0, 4, 1)
    return np.asarray(np.eye(3, 4) + cells, np.float32)


def _styled(grid: BilateralGrid, view: View) -> Values:
    """Return the colors as each cell styles them, float32 (colors, cells, 3)."""
    rows, columns, bins = grid.shape[:3]
    basis = _basis(view.rgb, np.clip(view.rgb, 0, 1), bins)
    by_input = grid.reshape(rows * columns, bins, 3, 4).transpose(1, 3, 0, 2).reshape(bins * 4, -1)
    return np.asarray((basis @ by_input).reshape(len(basis), rows * columns, 3), np.float32)


def _basis(colors: Values, guide: Values, bins: int) -> Values:
    """Return hat × (color, 1) for each color, float32 (colors, bins · 4)."""
    place = np.clip(guide @ np.array(GUIDE, np.float32), 0, 1) * np.float32(bins - 1)
    hats = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(bins, dtype=np.float32)))
    inputs = np.concatenate([colors, np.ones((len(colors), 1), np.float32)], 1)
    return np.asarray((hats[:, :, None] * inputs[:, None]).reshape(len(colors), -1), np.float32)


def _pixels(picture: Values) -> Values:
    """Return pixels spread evenly over a picture, float32 (2400, 3)."""
    pixels = picture.reshape(-1, 3)
    spread = np.linspace(0, len(pixels) - 1, OWN_COLORS).round().astype(int)
    return np.asarray(pixels[spread], np.float32)


def _others(hdr: Hdr) -> Values:
    """Return colors of every kind, mostly pale, a quarter of them brighter than SDR white."""
    rng = np.random.default_rng(1)
    gray, saturation = rng.uniform(size=(OTHER_COLORS, 1)), rng.beta(1.2, 2, (OTHER_COLORS, 1))
    view = gray + saturation * (rng.uniform(size=(OTHER_COLORS, 3)) - gray)
    is_bright = rng.uniform(size=(OTHER_COLORS, 1)) < 0.25
    gain = np.where(is_bright, np.exp(rng.uniform(0, np.log(5), (OTHER_COLORS, 1))), 1)
    return hdr.from_light(view**2.4 * gain)
