"""Convert video colors to RGB and back through the same matrix and range, without color shifts.

The numeric codes are those of ITU-T H.273 (FFmpeg's ``AVColorSpace``, ``AVColorRange``, ...).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

RGB: Final = 0
BT709: Final = 1
UNSPECIFIED: Final = 2
BT2020: Final = 9
BT601: Final = 6
LIMITED_RANGE: Final = 1
FULL_RANGE: Final = 2
PQ: Final = 16
HLG: Final = 18
HDR_TRANSFERS: Final = {PQ: "PQ", HLG: "HLG"}

# H.273 matrix → swscale's number; constant-luminance BT.2020 (10) is close enough to BT.2020 (9).
_SWSCALE_MATRIX: Final = {BT709: 1, 4: 4, 5: 5, BT601: 5, 7: 7, 9: 9, 10: 9}

# Known to FFmpeg, but not to swscale or to the styles' picture of the world.
UNKNOWN_MATRICES: Final = {
    8: "YCgCo",
    11: "SMPTE ST 2085",
    12: "chromaticity-derived, non-constant luminance",
    13: "chromaticity-derived, constant luminance",
    14: "ICtCp",
    15: "IPT-C2 (Dolby Vision 5)",
    16: "YCgCo-Re",
    17: "YCgCo-Ro",
}
UNKNOWN_TRANSFERS: Final = {8: "linear", 9: "log 100:1", 10: "log 316:1", 17: "SMPTE ST 428"}
PRIMARIES: Final = {1: "BT.709", 5: "BT.601 (625)", 6: "BT.601 (525)", 11: "DCI-P3", 12: "Display P3"}

# Weights of red and blue in the luma, by H.273 matrix.
_RED_AND_BLUE: Final = {
    BT709: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    BT601: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}

# swscale's fast paths darken by one to two levels per conversion; with these flags a round trip in limited
# range is unbiased.
_EXACT: Final = (
    Interpolation.AREA
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.FULL_CHR_H_INT
)


@dataclass(frozen=True)
class Color:
    """Color tags of a video and the conversion that they imply.

    Attributes:
        matrix: H.273 matrix coefficients as tagged; 2 is "unspecified".
        range: 1 limited (16..235), 2 full (0..255), 0 unspecified (treated as limited).
        primaries: H.273 color primaries, passed through.
        transfer: H.273 transfer characteristics, passed through.
        conversion: The matrix to compute with: `matrix`, or what players assume if it is unspecified.
    """

    matrix: int
    range: int
    primaries: int
    transfer: int
    conversion: int

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Color:
        """Read the tags of a decoded frame.

        Without a matrix tag, players choose by size: BT.709 from 1280 pixels in width or above 576 rows
        (mpv's rule), otherwise BT.601. An RGB source is tagged with that matrix, because H.264 output is YUV.
        """
        is_hd = max(frame.width, frame.height) >= 1280 or min(frame.width, frame.height) > 576
        assumed = BT709 if is_hd else BT601
        full = frame.color_range == FULL_RANGE or frame.format.name.startswith("yuvj")
        if frame.format.is_rgb:
            return cls(assumed, LIMITED_RANGE, frame.color_primaries, frame.color_trc, assumed)
        conversion = frame.colorspace if frame.colorspace in _SWSCALE_MATRIX else assumed
        return cls(
            matrix=frame.colorspace if frame.colorspace != RGB else UNSPECIFIED,
            range=FULL_RANGE if full else frame.color_range,
            primaries=frame.color_primaries,
            transfer=frame.color_trc,
            conversion=conversion,
        )

    @property
    def is_hdr(self) -> bool:
        """Whether the codes are those of HLG or PQ."""
        return self.transfer in HDR_TRANSFERS

    @property
    def as_sdr(self) -> Color:
        """The tags of its SDR view: BT.709 in limited range."""
        return Color(BT709, LIMITED_RANGE, BT709, BT709, BT709)

    @property
    def has_known_matrix(self) -> bool:
        """Whether the matrix is one that is computed with; others are reserved or need another decoder."""
        return self.matrix in (*_SWSCALE_MATRIX, RGB, UNSPECIFIED)

    @property
    def swscale_range(self) -> int:
        """The range to compute with: 1 limited or 2 full."""
        return FULL_RANGE if self.range == FULL_RANGE else LIMITED_RANGE

    def codes_like(self, frame: av.VideoFrame) -> bool:
        """Return whether a frame's codes have this matrix and range; what it does not tag counts as equal."""
        is_full = frame.color_range == FULL_RANGE or frame.format.name.startswith("yuvj")
        untagged = frame.color_range == 0 and not is_full
        same_range = untagged or is_full == (self.range == FULL_RANGE)
        return same_range and frame.colorspace in (self.matrix, self.conversion, UNSPECIFIED, RGB)


def codes_of(color: Color, bits: int = 8) -> NDArray[np.float64]:
    """Return the matrix from R', G', B' in the unit range and 1 to Y', Cb, Cr and 1, float64 (4, 4).

    Args:
        color: Matrix and range of the codes.
        bits: Bits per code.
    """
    unit = _full_range_matrix(*_RED_AND_BLUE[color.conversion])[:, :3]
    step = 2 ** (bits - 8)  # of a code of eight bits
    gains = np.array([219.0, 224, 224]) * step
    offsets = np.array([16.0, 128, 128]) * step
    if color.range == FULL_RANGE:
        gains[:], offsets[0] = 2**bits - 1, 0
    return np.vstack([np.column_stack([gains[:, None] * unit, offsets]), [0, 0, 0, 1]])


def reformatted(
    frame: av.VideoFrame, pixel_format: str, color: Color | None = None, size: tuple[int, int] | None = None
) -> av.VideoFrame:
    """Convert a frame to another pixel format, size, matrix or range.

    Args:
        frame: A decoded frame, in RGB or Y'CbCr.
        pixel_format: FFmpeg's name of a Y'CbCr format.
        color: Matrix and range of the result; None keeps those of a frame in Y'CbCr.
        size: Width and height of the result; None keeps them.
    """
    options: dict[str, int] = {}
    if color is not None and not frame.format.is_rgb and not color.codes_like(frame):
        frame = _in_rgb(frame)
    if color is not None and frame.format.is_rgb:
        options = {
            "dst_colorspace": _SWSCALE_MATRIX[color.conversion],
            "dst_color_range": color.swscale_range,
        }
    return _reformatter().reformat(
        frame,
        *(size or (frame.width, frame.height)),
        format=pixel_format,
        interpolation=_EXACT,
        **options,
    )


def _in_rgb(frame: av.VideoFrame) -> av.VideoFrame:
    """Convert a frame in Y'CbCr; straight from one range to another, swscale would keep the matrix."""
    given = Color.of(frame)
    return _reformatter().reformat(
        frame,
        format="gbrp" if bits_of(frame) == 8 else "gbrp16le",
        interpolation=_EXACT,
        src_colorspace=_SWSCALE_MATRIX[given.conversion],
        src_color_range=given.swscale_range,
    )


_kept = threading.local()


def _reformatter() -> VideoReformatter:
    """Return this thread's reformatter, which keeps swscale's context."""
    if not hasattr(_kept, "reformatter"):
        _kept.reformatter = VideoReformatter()
    kept: VideoReformatter = _kept.reformatter
    return kept


def unknown_color(frame: av.VideoFrame) -> str | None:
    """Return what of a decoded frame's colors is not known here, with its name, or None."""
    name, matrix, transfer = frame.format.name, frame.colorspace, frame.color_trc
    if not _is_readable(name):
        return f"the pixel format {name}"
    if not frame.format.is_rgb and matrix in UNKNOWN_MATRICES:
        return f"the color matrix {UNKNOWN_MATRICES[matrix]}"
    if is_dolby_vision(frame) and transfer == UNSPECIFIED:  # profile 5: IPT with curves in the metadata
        return "Dolby Vision without an HLG, PQ or SDR base layer"
    if transfer in UNKNOWN_TRANSFERS:
        return f"the transfer {UNKNOWN_TRANSFERS[transfer]}"
    if transfer in HDR_TRANSFERS and frame.color_primaries not in (BT2020, UNSPECIFIED):
        primaries = frame.color_primaries
        return f"{HDR_TRANSFERS[transfer]} with the primaries {PRIMARIES.get(primaries, primaries)}"
    return None


def is_dolby_vision(frame: av.VideoFrame) -> bool:
    """Return whether a decoded frame comes with Dolby Vision's metadata."""
    return "DOVI_RPU_BUFFER" in frame.side_data or "DOVI_METADATA" in frame.side_data


@lru_cache(maxsize=8)
def _is_readable(pixel_format: str) -> bool:
    """Return whether swscale reads a pixel format, by a small picture in it."""
    try:
        VideoReformatter().reformat(av.VideoFrame(16, 16, pixel_format), 16, 16, "rgb24")
    except (av.FFmpegError, ValueError):
        return False
    return True


def bits_of(frame: av.VideoFrame) -> int:
    """Return the bits per channel that are kept of a decoded frame, 8 or 10; HDR always has 10."""
    return 10 if frame.format.components[0].bits > 8 or frame.color_trc in HDR_TRANSFERS else 8


class ColorConverter:
    """Converts the frames of one video; reuses swscale's context."""

    def __init__(self, color: Color) -> None:
        self._matrix = _SWSCALE_MATRIX[color.conversion]
        self._range = color.swscale_range
        self._to_full_range = _full_range_matrix(*_RED_AND_BLUE[color.conversion])
        self._reformatter = VideoReformatter()

    def to_rgb(self, frame: av.VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
        """Convert one frame to RGB.

        Args:
            frame: Any pixel format; more than eight bits are rounded to eight.
            width: Width of the result; a stream that changes size midway is resized to it.
            height: Height of the result.

        Returns:
            uint8 RGB (height, width, 3), contiguous.
        """
        is_rgb = frame.format.is_rgb
        picture = self._reformatter.reformat(
            frame,
            width,
            height,
            "rgb24",
            src_colorspace=None if is_rgb else self._matrix,
            src_color_range=None if is_rgb else self._range,
            interpolation=_EXACT,
        )
        return np.ascontiguousarray(picture.to_ndarray(), np.uint8)

    def from_rgb(self, rgb: NDArray[np.uint8], pixel_format: str) -> av.VideoFrame:
        """Convert one frame from RGB.

        Args:
            rgb: uint8 RGB (H, W, 3).
            pixel_format: ``yuv420p`` (even sizes only) or ``yuv444p``.

        Returns:
            A frame without timestamps.
        """
        if self._range == FULL_RANGE:
            return self._to_full(rgb, pixel_format)
        return self._reformatter.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24"),
            format=pixel_format,
            dst_colorspace=self._matrix,
            dst_color_range=self._range,
            interpolation=_EXACT,
        )

    def _to_full(self, rgb: NDArray[np.uint8], pixel_format: str) -> av.VideoFrame:
        """Convert to full range without swscale, which rounds chroma down there: half a level too low."""
        yuv = np.asarray(cv2.transform(rgb, self._to_full_range), np.uint8)
        y, u, v = np.moveaxis(yuv, -1, 0)
        if pixel_format == "yuv444p":
            return av.VideoFrame.from_ndarray(np.stack([y, u, v]), format=pixel_format)
        height, width = y.shape
        planes = np.concatenate([plane.ravel() for plane in (y, _halved(u), _halved(v))])
        return av.VideoFrame.from_ndarray(planes.reshape(height * 3 // 2, width), format=pixel_format)


def _halved(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Average 2×2 pixels in float; OpenCV's rounding of bytes would add an eighth of a level."""
    height, width = plane.shape
    half = cv2.resize(plane.astype(np.float32), (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return np.rint(half).astype(np.uint8)


def _full_range_matrix(red: float, blue: float) -> NDArray[np.float64]:
    """Return the 3×4 matrix from RGB to YUV, all in 0..255, given the luma weights of red and blue."""
    luma = np.array([red, 1 - red - blue, blue, 0])
    u = (np.array([0, 0, 1, 0]) - luma) / (2 - 2 * blue)
    v = (np.array([1, 0, 0, 0]) - luma) / (2 - 2 * red)
    offsets = np.array([[0, 0, 0, offset] for offset in (0, 128, 128)])
    return np.asarray(np.stack([luma, u, v]) + offsets, np.float64)
