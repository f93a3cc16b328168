"""Affine color maps on a coarse grid: warp, resample and weaken them without touching pixels.

A map is float32 (gh, gw, 3, 4), [A | b] per cell: stylized = A·rgb + b, with rgb and b in the unit range. It
is so small that these operations cost almost nothing compared with one full-size picture.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from device_runtime.motion.flow import Motion, sample

AffineMap = NDArray[np.float32]


def moved(affine_map: AffineMap, motion: Motion) -> AffineMap:
    """Warp a key frame's map onto another frame.

    Args:
        affine_map: float32 (gh, gw, 3, 4), the key frame's map.
        motion: Motion of the other frame relative to the key frame.

    Returns:
        float32 (gh, gw, 3, 4).
    """
    rows, columns = affine_map.shape[:2]
    flat = np.ascontiguousarray(affine_map.reshape(rows, columns, 12))
    return sample(flat, motion.flow_on(rows, columns)).reshape(affine_map.shape)


def on_grid(affine_map: AffineMap, rows: int, columns: int) -> AffineMap:
    """Resample a map bilinearly on another grid over the same frame; models differ in their grids.

    Args:
        affine_map: float32 (gh, gw, 3, 4).
        rows: Rows of the new grid.
        columns: Columns of the new grid.

    Returns:
        float32 (rows, columns, 3, 4).
    """
    if affine_map.shape[:2] == (rows, columns):
        return affine_map
    flat = np.ascontiguousarray(affine_map.reshape(*affine_map.shape[:2], 12))
    return np.asarray(cv2.resize(flat, (columns, rows)), np.float32).reshape(rows, columns, 3, 4)


def weakened(affine_map: AffineMap, strength: float) -> AffineMap:
    """Blend a map with the identity: (1 - s)·identity + s·map.

    Args:
        affine_map: float32 (gh, gw, 3, 4).
        strength: s, 0 (the original) to 1 (the full style).
    """
    if strength == 1.0:
        return affine_map
    identity = np.eye(3, 4, dtype=np.float32)
    return np.asarray((1 - strength) * identity + strength * affine_map, np.float32)
