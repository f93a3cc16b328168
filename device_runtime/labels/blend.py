"""Blend several maps into one picture, with region borders that follow the photo's edges.

Each map is applied to the photo itself, so it is defined on both sides of a border, where the results are
blended. The pictures from which the maps were computed are not visible.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from device_runtime.interpolation.grid import applied, sliced
from mvstylizer.stylizer import BilateralGrid

REACH: Final = 0.004  # of the diagonal: width of the feathering, and how far a border may miss an edge
EDGE: Final = 1e-3  # luma variance, unit range: a step of about 6 % of white or more counts as an edge
STRIP: Final = 128  # rows per pass, so that memory does not grow with picture size × labels


def blended_maps(
    photo: NDArray[np.uint8], regions: NDArray[np.uint8], maps: Sequence[BilateralGrid]
) -> NDArray[np.uint8]:
    """Apply each region's map, feathered at the borders.

    Args:
        photo: uint8 RGB (H, W, 3).
        regions: uint8 (H, W), index into `maps` for each pixel.
        maps: float32 (rows, columns, bins, 3, 4) each; their shapes may differ.

    Returns:
        uint8 RGB (H, W, 3).
    """
    height, width = photo.shape[:2]
    reach = max(1, round(REACH * math.hypot(height, width)))
    result = np.empty_like(photo)
    for top in range(0, height, STRIP):
        bottom = min(height, top + STRIP)
        first, last = max(0, top - 2 * reach), min(height, bottom + 2 * reach)
        near = slice(first, last), slice(top - first, bottom - first)
        weights = feathered(photo[near[0]], regions[near[0]], len(maps), reach)[:, near[1]]
        unit = photo[top:bottom].astype(np.float32) / np.float32(255)
        total = np.zeros_like(unit)
        for weight, grid in zip(weights, maps, strict=True):
            if weight.any():
                colors = applied(sliced(grid, unit, top=top, height=height), unit)
                total += weight[..., None] * np.clip(colors, 0, 1)
        result[top:bottom] = np.rint(255 * total)
    return result


def feathered(
    photo: NDArray[np.uint8], regions: NDArray[np.uint8], count: int, reach: int
) -> NDArray[np.float32]:
    """Return region weights: 1 inside, falling to 0 across a border, along edges of the photo.

    Guided filter (He et al. 2010) of each region's mask with the photo's luma as the guide. It is linear in
    the mask, so the weights of a pixel sum to 1 before clipping.

    Args:
        photo: uint8 RGB (H, W, 3).
        regions: uint8 (H, W), below `count`.
        count: Number of regions.
        reach: Radius of the filter in pixels; a border has no effect beyond twice that distance.

    Returns:
        float32 (count, H, W), 0 to 1, summing to 1.
    """

    def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.blur(values, (2 * reach + 1, 2 * reach + 1)), np.float32)

    luma = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.float32(255)
    luma_mean = mean(luma)
    spread = mean(luma * luma) - luma_mean**2 + np.float32(EDGE)
    weights = np.zeros((count, *regions.shape), np.float32)
    for number in np.unique(regions):
        mask = (regions == number).astype(np.float32)
        mask_mean = mean(mask)
        gain = (mean(luma * mask) - luma_mean * mask_mean) / spread
        weights[number] = np.clip(mean(gain) * luma + mean(mask_mean - gain * luma_mean), 0, 1)
    weights /= weights.sum(0)
    return weights
