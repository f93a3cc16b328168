"""Pictures reduced to a number of pixels before they are sent."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray


def shrunk(picture: NDArray[np.uint8], pixels: int) -> NDArray[np.uint8]:
    """Shrink a picture to about so many pixels, keeping its shape; smaller ones stay as they are.

    Args:
        picture: uint8 RGB (H, W, 3).
        pixels: What H·W shall be.
    """
    height, width = picture.shape[:2]
    scale = math.sqrt(pixels / (height * width))
    if scale >= 1:
        return picture
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
