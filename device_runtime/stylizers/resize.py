"""Resize pictures for requests and for the network on the device.

The ONNX graphs resize their input themselves. A TFLite graph that reads its input's size would lose XNNPACK,
so for TFLite the resizing is here: a triangle filter, two output pixels wide, which PyTorch and ONNX call
bilinear with anti-aliasing. OpenCV only has the box filter (``INTER_AREA``), which passes more fine detail.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

HeightWidth = tuple[int, int]
MIN_CELLS = 2  # map cells along the shorter side of a frame
MIN_STYLE = 16  # pixels along the shorter side of a style
THUMBNAIL = 96  # pixels along each side of a thumbnail


def network_size(height: int, width: int, *, pixels: int, cell: int) -> HeightWidth:
    """Return the height and width of a frame for the network: within the budget, in whole cells.

    Args:
        height: Height of the frame.
        width: Width of the frame.
        pixels: Pixel budget, `network_pixels` of the bundle.
        cell: Side of a map cell in pixels, `map_cell` of the bundle.
    """
    scale = min(1.0, math.sqrt(pixels / (height * width)))
    rows, columns = (max(MIN_CELLS, round(side * scale / cell)) for side in (height, width))
    return rows * cell, columns * cell


def style_size(height: int, width: int, *, pixels: int) -> HeightWidth:
    """Return the height and width at which a style photo is encoded: within `style_pixels` of the bundle."""
    scale = min(1.0, math.sqrt(pixels / (height * width)))
    return max(MIN_STYLE, round(height * scale)), max(MIN_STYLE, round(width * scale))


def resized(picture: NDArray[np.uint8], size: HeightWidth) -> NDArray[np.uint8]:
    """Resize bilinearly (half-pixel centers), with anti-aliasing where it shrinks.

    Args:
        picture: uint8 RGB (H, W, 3).
        size: Height and width of the result.

    Returns:
        uint8 RGB (height, width, 3), rounded to nearest; the picture itself if it already has that size.
    """
    height, width = size
    if picture.shape[:2] == size:
        return picture
    columns = _along_first(picture, height).swapaxes(0, 1)
    resized = _along_first(columns, width).swapaxes(0, 1)
    return np.ascontiguousarray(np.rint(resized).clip(0, 255).astype(np.uint8))


def thumbnail(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Resize a picture of any shape to 96×96; each pixel is the mean of the area that it covers.

    The same weights as in training (`training.look.heads.thumbnail`), for which the network was trained.

    Args:
        picture: uint8 RGB (H, W, 3).

    Returns:
        float32 RGB (96, 96, 3) in [0, 1].
    """
    rows, columns = (area_weights(side, THUMBNAIL) for side in picture.shape[:2])
    height, width, _ = picture.shape
    lines = (rows @ picture.reshape(height, -1).astype(np.float32)).reshape(THUMBNAIL, width, 3)
    return np.asarray(columns @ lines / np.float32(255), np.float32)


def area_weights(side: int, count: int) -> NDArray[np.float32]:
    """Return the share of each of `side` pixels in the mean of each of `count` equal parts, (count, side)."""
    ends = np.arange(count + 1)[:, None] * side / count
    pixels = np.arange(side)
    overlap = np.minimum(ends[1:], pixels + 1) - np.maximum(ends[:-1], pixels)
    return np.asarray(np.maximum(overlap, 0) * count / side, np.float32)


def shrunk(picture: NDArray[np.uint8], pixels: int) -> NDArray[np.uint8]:
    """Shrink a picture to about `pixels`, keeping its aspect ratio; smaller ones are returned unchanged.

    Args:
        picture: uint8 RGB (H, W, 3).
        pixels: Target for H·W.

    Returns:
        uint8 RGB (H', W', 3).
    """
    height, width = picture.shape[:2]
    scale = math.sqrt(pixels / (height * width))
    if scale >= 1:
        return picture
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _along_first(values: NDArray[np.generic], length: int) -> NDArray[np.float32]:
    """Resize along the first axis, (N, M, 3) to (length, M, 3), float32."""
    before = values.shape[0]
    if before == length:
        return values.astype(np.float32)
    step = before / length
    reach = max(step, 1.0)
    out = np.empty((length, *values.shape[1:]), np.float32)
    for i in range(length):
        center = (i + 0.5) * step
        first, last = max(0, int(center - reach + 0.5)), min(before, int(center + reach + 0.5))
        weights = np.maximum(0, 1 - np.abs((np.arange(first, last) + 0.5 - center) / reach))
        near = values[first:last].reshape(last - first, -1).astype(np.float32)
        out[i] = ((weights / weights.sum()).astype(np.float32) @ near).reshape(out.shape[1:])
    return out
