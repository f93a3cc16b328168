"""Apply a map to a photo of 16 bits per channel, in floating point, a strip at a time."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from device_runtime.interpolation.grid import applied, sliced
from mvstylizer.stylizer import BilateralGrid

STRIP_PIXELS: Final = 1 << 19  # whose maps take 48 bytes each
WHITE: Final = 65535


def transferred_deep(deep: NDArray[np.uint16], grid: BilateralGrid) -> NDArray[np.uint16]:
    """Apply a map to every pixel.

    Args:
        deep: uint16 RGB (H, W, 3).
        grid: float32 (rows, columns, bins, 3, 4).

    Returns:
        uint16 RGB (H, W, 3).
    """
    height, width, _ = deep.shape
    made = np.empty_like(deep)
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        unit = deep[top : top + rows].astype(np.float32) / np.float32(WHITE)
        colors = applied(sliced(grid, unit, top=top, height=height), unit)
        made[top : top + rows] = np.rint(np.clip(colors, 0, 1) * WHITE)
    return made
