"""Pictures as a video codec has them: planes of Y'CbCr 4:2:0, converted to RGB only where asked for."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from device_runtime.media.color import FULL_RANGE, Color, ColorConverter, codes_of
from device_runtime.media.orientation import Orientation

FORMATS: Final = ("yuv420p", "yuvj420p", "nv12")  # of 8 bits; other pictures are converted to RGB


_kept = threading.local()


@dataclass(frozen=True, eq=False)
class Planes:
    """A picture in Y'CbCr 4:2:0.

    Attributes:
        i420: uint8 (3·H/2, W): the H rows of Y', then Cb and Cr of (H/2, W/2); H and W are even.
        color: Matrix and range of the codes.
    """

    i420: NDArray[np.uint8]
    color: Color

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and 3, as of the same picture in RGB."""
        return len(self.i420) * 2 // 3, self.i420.shape[1], 3

    @property
    def luma(self) -> NDArray[np.uint8]:
        """Y' as coded, uint8 (H, W)."""
        return self.i420[: self.shape[0]]

    @property
    def codes(self) -> NDArray[np.float64]:
        """The matrix from R', G', B' in the unit range and 1 to codes and 1, float64 (4, 4)."""
        return codes_of(self.color)

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """The picture in uint8 RGB (H, W, 3); the conversion is kept."""
        return _converter(self.color).to_rgb(self.frame(), self.shape[1], self.shape[0])

    def frame(self) -> av.VideoFrame:
        """Return it as a yuv420p frame for an encoder, without timestamps."""
        return av.VideoFrame.from_ndarray(self.i420, format="yuv420p")

    def shrunk(self, pixels: int) -> NDArray[np.uint8]:
        """Return it in RGB and shrunk to about `pixels`; see `stylizers.resize.shrunk`."""
        height, width, _ = self.shape
        scale = math.sqrt(pixels / (height * width))
        if scale >= 1:
            return self.rgb
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = [cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in self._split()]
        return _rgb_of([np.asarray(plane, np.uint8) for plane in small], self.color)

    def thumbnail(self, width: int, height: int) -> NDArray[np.uint8]:
        """Return its luma in full range at another size, uint8 (height, width)."""
        small = cv2.resize(self.luma, (width, height), interpolation=cv2.INTER_AREA)
        if self.color.range == FULL_RANGE:
            return np.asarray(small, np.uint8)
        return np.asarray(cv2.convertScaleAbs(small, alpha=255 / 219, beta=-16 * 255 / 219), np.uint8)

    def _split(self) -> list[NDArray[np.uint8]]:
        height, width, _ = self.shape
        return [self.luma, *self.i420[height:].reshape(2, height // 2, width // 2)]


Picture = NDArray[np.uint8] | Planes
"""A picture in uint8 RGB (H, W, 3), or in planes of Y'CbCr."""


def in_rgb(picture: Picture) -> NDArray[np.uint8]:
    """Return a picture in uint8 RGB (H, W, 3)."""
    return picture.rgb if isinstance(picture, Planes) else picture


def luma_of(picture: Picture) -> NDArray[np.uint8]:
    """Return the luma plane of a picture in planes, or the whole picture in RGB, for `FlowEstimator`."""
    return picture.luma if isinstance(picture, Planes) else picture


def planes_of(frame: av.VideoFrame, color: Color, orientation: Orientation) -> Planes | None:
    """Copy the planes of a decoded frame, upright.

    Returns:
        The planes, or None if its pixel format is none of `FORMATS` or its size is odd.
    """
    if frame.format.name not in FORMATS or frame.width % 2 or frame.height % 2:
        return None
    i420 = frame.to_ndarray() if frame.format.name != "nv12" else _from_nv12(frame)
    stored = Planes(np.asarray(i420, np.uint8), color)
    if orientation == Orientation():
        return stored
    turned = [orientation.apply(np.ascontiguousarray(plane)) for plane in stored._split()]
    width = turned[0].shape[1]
    return Planes(np.concatenate([plane.reshape(-1, width) for plane in turned]), color)


def _converter(color: Color) -> ColorConverter:
    """Return this thread's converter, which keeps swscale's context."""
    if getattr(_kept, "color", None) != color:
        _kept.color, _kept.converter = color, ColorConverter(color)
    converter: ColorConverter = _kept.converter
    return converter


def _from_nv12(frame: av.VideoFrame) -> NDArray[np.uint8]:
    stored = np.asarray(frame.to_ndarray(), np.uint8)  # (3·H/2, W), Cb and Cr of a pixel side by side
    height = frame.height
    chroma = stored[height:].reshape(-1, 2).T
    return np.concatenate([stored[:height], chroma.reshape(height // 2, -1)])


def _rgb_of(planes: list[NDArray[np.uint8]], color: Color) -> NDArray[np.uint8]:
    """Convert planes of one size to uint8 RGB (h, w, 3)."""
    to_rgb = 255 * np.linalg.inv(codes_of(color))[:3]
    rgb = cv2.transform(cv2.merge(planes).astype(np.float32), to_rgb)
    return np.asarray(np.clip(np.rint(rgb), 0, 255), np.uint8)
