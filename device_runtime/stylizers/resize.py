"""Pictures reduced to what the network on the device takes, as the ONNX graphs reduce them themselves.

A TFLite graph that asked for its input's size would lose XNNPACK, so the reduction is here. The filter is a
triangle as wide as two pixels of the result, which is what PyTorch and ONNX call bilinear with anti-aliasing;
OpenCV has only the box (``INTER_AREA``), which lets more of the finest detail through.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]
MIN_CELLS = 2  # of the shorter side of a frame
MIN_STYLE = 16  # pixels of the shorter side of a style


def network_size(height: int, width: int, *, pixels: int, cell: int) -> Size:
    """Return height and width at which the network sees a frame: within the budget, in whole cells.

    Args:
        height: Of the frame.
        width: Of the frame.
        pixels: The budget, `network_pixels` of the bundle.
        cell: Pixels of a map's cell, each way, `map_cell` of the bundle.
    """
    scale = min(1.0, math.sqrt(pixels / (height * width)))
    rows, columns = (max(MIN_CELLS, round(side * scale / cell)) for side in (height, width))
    return rows * cell, columns * cell


def style_size(height: int, width: int, *, pixels: int) -> Size:
    """Return height and width at which a style photo is encoded: within `style_pixels` of the bundle."""
    scale = min(1.0, math.sqrt(pixels / (height * width)))
    return max(MIN_STYLE, round(height * scale)), max(MIN_STYLE, round(width * scale))


def resized(picture: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Resize bilinearly (half-pixel centres), with anti-aliasing where it shrinks.

    Args:
        picture: uint8 RGB (H, W, 3).
        size: Height and width wanted.

    Returns:
        uint8 RGB (height, width, 3), rounded to the nearest; the picture itself where it has that size.
    """
    height, width = size
    if picture.shape[:2] == size:
        return picture
    columns = _along_first(picture, height).swapaxes(0, 1)
    resized = _along_first(columns, width).swapaxes(0, 1)
    return np.ascontiguousarray(np.rint(resized).clip(0, 255).astype(np.uint8))


def _along_first(values: NDArray[np.generic], length: int) -> NDArray[np.float32]:
    """Resize along the first axis, (N, M, 3) to (length, M, 3), float32."""
    before = values.shape[0]
    if before == length:
        return values.astype(np.float32)
    step = before / length
    reach = max(step, 1.0)
    out = np.empty((length, *values.shape[1:]), np.float32)
    for i in range(length):
        centre = (i + 0.5) * step
        first, last = max(0, int(centre - reach + 0.5)), min(before, int(centre + reach + 0.5))
        weights = np.maximum(0, 1 - np.abs((np.arange(first, last) + 0.5 - centre) / reach))
        near = values[first:last].reshape(last - first, -1).astype(np.float32)
        out[i] = ((weights / weights.sum()).astype(np.float32) @ near).reshape(out.shape[1:])
    return out
