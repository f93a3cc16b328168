"""Pictures as a video codec has them: planes of Y'CbCr, converted to RGB only where asked for."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final

import av
import cv2
import numpy as np
from av.video.plane import VideoPlane
from numpy.typing import NDArray

from device_runtime.kernels.transfer import YCbCr
from device_runtime.kernels.transfer_tiles import Plane
from device_runtime.media.color import Color, ColorConverter, bits_of, codes_of, reformatted
from device_runtime.media.hdr import NODES, Hdr, Light, View
from device_runtime.media.hdr_grid import hdr_grid
from device_runtime.media.orientation import Orientation
from mvstylizer.stylizer import BilateralGrid

GRAY: Final = {"gray": 8, "gray10le": 10, "gray12le": 12}
STRIP_ROWS: Final = 64  # even, for 4:2:0
FIT_PIXELS: Final = 512 * 288
NEUTRAL: Final = {8: 128, 10: 512}  # chroma of gray


_kept = threading.local()


@dataclass(frozen=True, eq=False)
class Planes:
    """A picture in Y'CbCr.

    Attributes:
        planes: Y' (H, W), Cb and Cr (h, w), uint8, or 10 bits in uint16. The sides of chroma are those of
            luma, or half of them, rounded up.
        color: Matrix and range of the codes.
    """

    planes: YCbCr
    color: Color

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and 3, as of the same picture in RGB."""
        height, width = self.luma.shape
        return height, width, 3

    @property
    def bits(self) -> int:
        """Bits per code, 8 or 10."""
        return 8 if self.luma.dtype == np.uint8 else 10

    @property
    def luma(self) -> Plane:
        """Y' as coded, (H, W)."""
        return self.planes[0]

    @property
    def hdr(self) -> Hdr | None:
        """The curves of an HDR picture, or None if it is SDR."""
        return _hdr(self.color)

    @property
    def codes(self) -> NDArray[np.float64]:
        """The matrix from R', G', B' in the unit range and 1 to codes and 1, float64 (4, 4)."""
        return codes_of(self.color, self.bits)

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """The picture in uint8 RGB (H, W, 3), of HDR its SDR view; the conversion is kept."""
        if self.hdr is not None:
            return np.concatenate([_bytes(view.rgb) for _, view in self._views(self.hdr)])
        return _converter(self.color).to_rgb(self.frame(), self.shape[1], self.shape[0])

    def frame(self) -> av.VideoFrame:
        """Return it as a frame for an encoder, without timestamps."""
        return frame_of(self.planes)

    def shrunk(self, pixels: int) -> NDArray[np.uint8]:
        """Return it in uint8 RGB, shrunk to about `pixels`; see `stylizers.resize.shrunk`. HDR: the view."""
        height, width, _ = self.shape
        if pixels >= height * width:
            return self.rgb
        small = self._shrunk_codes(pixels)
        return _bytes(small if self.hdr is None else self.hdr.view(small).rgb)

    def own_grid(self, grid: BilateralGrid) -> BilateralGrid:
        """Return a grid for its own R', G', B' from one for its SDR view; of SDR it is the same."""
        if self.hdr is None:
            return grid
        return hdr_grid(grid, self.hdr, self._shrunk_codes(FIT_PIXELS))

    def sdr(self) -> Planes:
        """Return the SDR view of HDR in planes of 8 bits and BT.709; SDR is returned as it is."""
        if self.hdr is None:
            return self
        color = self.color.as_sdr
        codes = codes_of(color)[:3]
        strips = [
            _subsampled(cv2.transform(np.clip(view.rgb, 0, 1), codes), rows, self)
            for rows, view in self._views(self.hdr)
        ]
        y, u, v = (_rounded(np.concatenate(planes), 8) for planes in zip(*strips, strict=True))
        return Planes((y, u, v), color)

    def _shrunk_codes(self, pixels: int) -> Light:
        """Return R', G', B' in the unit range, float32 (h, w, 3), shrunk to about `pixels`."""
        height, width, _ = self.shape
        scale = min(1.0, math.sqrt(pixels / (height * width)))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = [cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in self.planes]
        to_rgb = np.linalg.inv(self.codes)[:3]
        return np.asarray(cv2.transform(cv2.merge(small).astype(np.float32), to_rgb), np.float32)

    def _views(self, hdr: Hdr) -> Iterator[tuple[slice, View]]:
        """Yield the SDR view of strips of rows, so that no float picture is held."""
        y, *chroma = self.planes
        large = [
            plane
            if plane.shape == y.shape
            else cv2.resize(plane, y.shape[::-1], interpolation=cv2.INTER_LINEAR)
            for plane in chroma
        ]
        to_rgb = np.linalg.inv(self.codes)[:3]
        for top in range(0, len(y), STRIP_ROWS):
            rows = slice(top, min(top + STRIP_ROWS, len(y)))
            strip = cv2.merge([plane[rows] for plane in (y, *large)]).astype(np.float32)
            yield rows, hdr.view(np.asarray(cv2.transform(strip, to_rgb), np.float32))

    def thumbnail(self, width: int, height: int) -> NDArray[np.uint8]:
        """Return its luma in full range at another size, uint8 (height, width)."""
        small = np.asarray(cv2.resize(self.luma, (width, height), interpolation=cv2.INTER_AREA))
        if self.hdr is not None:
            return _gray_view(self, small)
        black, white = self.codes[0, 3], self.codes[0].sum()
        gain = 255 / (white - black)
        return np.asarray(cv2.convertScaleAbs(small, alpha=gain, beta=-black * gain), np.uint8)

    def cropped(self, height: int, width: int) -> Planes:
        """Return the upper left part of it."""
        y, u, v = self.planes
        rows, columns = (
            -(-length * small // large)
            for length, small, large in zip((height, width), u.shape, y.shape, strict=True)
        )
        return Planes((y[:height, :width], u[:rows, :columns], v[:rows, :columns]), self.color)

    def like(self, rgb: NDArray[np.uint8]) -> Planes:
        """Return another picture of the same size, in planes like these.

        Args:
            rgb: uint8 RGB (H, W, 3); for HDR, the styled SDR view of these.
        """
        if self.hdr is not None:
            return self._hdr_like(rgb, self.hdr)
        codes = self.codes[:3] @ np.diag([1 / 255, 1 / 255, 1 / 255, 1])
        y, u, v = cv2.split(cv2.transform(rgb.astype(np.float32), codes))
        size = self.planes[1].shape[::-1]
        small = [cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in (u, v)]
        first, second, third = (_rounded(np.asarray(each, np.float32), self.bits) for each in (y, *small))
        return Planes((first, second, third), self.color)

    def _hdr_like(self, rgb: NDArray[np.uint8], hdr: Hdr) -> Planes:
        strips = []
        for rows, view in self._views(hdr):
            codes = hdr.codes(rgb[rows].astype(np.float32) / np.float32(255), view)
            strips.append(_subsampled(cv2.transform(codes, self.codes[:3]), rows, self))
        y, u, v = (_rounded(np.concatenate(planes), self.bits) for planes in zip(*strips, strict=True))
        return Planes((y, u, v), self.color)


Picture = NDArray[np.uint8] | Planes
"""A picture in uint8 RGB (H, W, 3), or in planes of Y'CbCr."""


def in_rgb(picture: Picture) -> NDArray[np.uint8]:
    """Return a picture in uint8 RGB (H, W, 3)."""
    return picture.rgb if isinstance(picture, Planes) else picture


def luma_of(picture: Picture) -> NDArray[np.uint8]:
    """Return the luma plane of a picture in planes, or the whole picture in RGB, for `FlowEstimator`.

    More than 8 bits are shifted to 8. HDR becomes the gray of its SDR view, for which motion search and
    thresholds are tuned.
    """
    if not isinstance(picture, Planes):
        return picture
    if picture.luma.dtype == np.uint8:
        return picture.luma.view(np.uint8)
    if picture.hdr is not None:
        return _gray_view(picture, picture.luma)
    return np.asarray(cv2.convertScaleAbs(picture.luma, alpha=1 / 4), np.uint8)


def planes_of(
    frame: av.VideoFrame, color: Color, orientation: Orientation, size: tuple[int, int] | None = None
) -> Planes | None:
    """Copy the planes of a decoded frame, upright.

    Args:
        frame: A decoded frame. More than 10 bits are rounded to 10.
        color: Matrix and range of the result. A frame tagged with others, as after a change in the middle of
            a video, is converted.
        orientation: How stored pixels become upright.
        size: Width and height of the result as stored; a frame of another size is resized.

    Returns:
        The planes, or None if the frame is in RGB of 8 bits.
    """
    stored = _stored_planes(frame, color, size or (frame.width, frame.height))
    if stored is None:
        return None
    y, u, v = (orientation.apply(plane) for plane in stored)
    return Planes((y, u, v), color)


def frame_of(planes: YCbCr) -> av.VideoFrame:
    """Return planes as a frame, without timestamps and color tags."""
    (height, width), (rows, columns) = planes[0].shape, planes[1].shape
    ratio = f"{4}{2 if columns < width else 4}{0 if rows < height else 2 if columns < width else 4}"
    deep = "" if planes[0].dtype == np.uint8 else "10le"
    frame = av.VideoFrame(width, height, f"yuv{ratio}p{deep}")
    for plane, into in zip(planes, frame.planes, strict=True):
        _view(into, plane.dtype)[: plane.shape[0], : plane.shape[1]] = plane
    return frame


def _stored_planes(frame: av.VideoFrame, color: Color, size: tuple[int, int]) -> YCbCr | None:
    """Copy the planes of a frame as they are stored."""
    name, bits = frame.format.name, 10 if color.is_hdr else bits_of(frame)
    is_asked = (frame.width, frame.height) == size and color.codes_like(frame)
    if name in GRAY and is_asked and not color.is_hdr:
        return _gray_planes(frame, GRAY[name])
    planar = _planar(frame.format, bits)
    if planar is None:
        return None
    if planar != name or not is_asked:
        # A yuvj format would stay full range, whatever is asked for.
        frame = reformatted(frame, planar.replace("yuvj", "yuv"), color, size)
    dtype = np.dtype(np.uint16 if planar.endswith("10le") else np.uint8)
    y, u, v = (
        np.array(_view(plane, dtype)[: plane.height, : plane.width], dtype) for plane in frame.planes[:3]
    )
    return y, u, v


def _gray_planes(frame: av.VideoFrame, bits: int) -> YCbCr:
    dtype, kept = np.dtype(np.uint8 if bits == 8 else np.uint16), min(bits, 10)
    plane = frame.planes[0]
    luma = _view(plane, dtype)[: plane.height, : plane.width]
    y = np.array(luma if bits == kept else luma >> (bits - 10), dtype)
    chroma = np.full((-(-plane.height // 2), -(-plane.width // 2)), NEUTRAL[kept], dtype)
    return y, chroma, chroma


def _planar(stored: av.VideoFormat, bits: int) -> str | None:
    """Return the name of the planar format that keeps what a format stores, or None for RGB of 8 bits.

    Formats with less chroma than 4:2:0 or other grids become the next one that has as much.
    """
    if stored.has_palette or len(stored.components) < 3:
        return None
    if stored.is_rgb:
        return "yuv444p10le" if bits > 8 else None
    if bits == 8 and stored.name in ("yuvj420p", "yuvj422p", "yuvj444p"):
        return stored.name
    is_wide, is_high = stored.chroma_width(16) == 16, stored.chroma_height(16) == 16
    ratio = "444" if is_wide else "422" if is_high else "420"
    return f"yuv{ratio}p" + ("" if bits == 8 else "10le")


def _view(plane: VideoPlane, dtype: np.dtype[Any]) -> Plane:
    """Return a view of a plane's memory, with its padding."""
    lines: Plane = np.frombuffer(plane, dtype)  # type: ignore[call-overload]
    return lines.reshape(-1, plane.line_size // dtype.itemsize)


def _subsampled(codes: Plane, rows: slice, like: Planes) -> tuple[Plane, Plane, Plane]:
    """Divide rows of Y'CbCr of full size into planes whose chroma is as small as that of a picture."""
    height = -(-len(codes) * len(like.planes[1]) // len(like.luma))
    if rows.stop == len(like.luma):
        height = len(like.planes[1]) - rows.start * len(like.planes[1]) // len(like.luma)
    size = like.planes[1].shape[1], height
    y, u, v = cv2.split(codes)
    small = [np.asarray(cv2.resize(each, size, interpolation=cv2.INTER_AREA)) for each in (u, v)]
    return np.asarray(y), small[0], small[1]


def _gray_view(picture: Planes, luma: Plane) -> NDArray[np.uint8]:
    """Return the SDR view of HDR luma as gray in full range."""
    table = _gray_table(picture.color)
    return np.asarray(table[np.minimum(luma, len(table) - 1)], np.uint8)


@lru_cache(maxsize=4)
def _gray_table(color: Color) -> NDArray[np.uint8]:
    """Return the gray view of each 10-bit luma code, uint8 (1024,)."""
    black, white = (float(code) for code in (codes_of(color, 10)[0, 3], codes_of(color, 10)[0].sum()))
    unit = np.clip((np.arange(1024) - black) / (white - black), 0, 1)
    return _bytes(Hdr(color.transfer).gray[np.rint(unit * (NODES - 1)).astype(int)])


@lru_cache(maxsize=4)
def _hdr(color: Color) -> Hdr | None:
    return Hdr.of(color)


def _bytes(unit: Light) -> NDArray[np.uint8]:
    """Return values in the unit range as bytes, rounded and clipped."""
    return np.asarray(np.clip(np.rint(unit * 255), 0, 255), np.uint8)


def _rounded(plane: NDArray[np.float32], bits: int) -> Plane:
    if bits == 8:
        return np.asarray(np.clip(np.rint(plane), 0, 255), np.uint8)
    return np.asarray(np.clip(np.rint(plane), 0, 1023), np.uint16)


def _converter(color: Color) -> ColorConverter:
    """Return this thread's converter, which keeps swscale's context."""
    if getattr(_kept, "color", None) != color:
        _kept.color, _kept.converter = color, ColorConverter(color)
    converter: ColorConverter = _kept.converter
    return converter
