"""JPEG between phone and edge: a tenth of the bytes of a raw 1080p frame.

The header is untrusted, so it is parsed here first, in plain Python. Files that claim more pixels than
allowed, are truncated, or are another format in disguise are never decoded.
"""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_START, _END, _SCAN = b"\xff\xd8", b"\xff\xd9", b"\xff\xda"
_FRAME_MARKERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE_MARKERS = {0x01, *range(0xD0, 0xD8)}
_MAX_SEGMENTS = 256
_MAX_SIDE = 65500
_MAX_SCANS = 64  # encoders write about ten
_MAX_SCANNED_PIXELS = 128 << 20  # over all scans: each costs a pass over the whole image


class JpegError(ValueError):
    """The bytes are not a JPEG that an edge decodes; the text is a constant, safe to send to anyone."""


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Return (height, width) from the header, without decoding.

    Raises:
        JpegError: Not a JPEG, or no size in its header.
    """
    if data[:2] != _START:
        raise JpegError("the image is not a JPEG")
    at = 2
    for _ in range(_MAX_SEGMENTS):
        if len(data) < at + 9 or data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _BARE_MARKERS:
            at += 2
        elif marker in _FRAME_MARKERS:
            height, width = struct.unpack_from(">HH", data, at + 5)
            if not height or not width:
                break
            return height, width
        elif marker in (_START[1], _END[1], _SCAN[1]):
            break
        else:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    raise JpegError("the JPEG header has no size")


def decode_jpeg(data: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """Decode a JPEG as stored; orientation tags are ignored, because frames are upright.

    Args:
        data: The file's bytes.
        max_pixels: Most pixels to decode.

    Returns:
        uint8 RGB (H, W, 3).

    Raises:
        JpegError: Not a JPEG, too large, truncated, or damaged.
    """
    height, width = jpeg_size(data)
    if height * width > max_pixels:
        raise JpegError("the image is larger than this edge allows")
    if data.rfind(_END) < data.rfind(_SCAN):
        raise JpegError("the JPEG is truncated")
    scans = data.count(_SCAN)
    if scans > _MAX_SCANS or scans * height * width > max(_MAX_SCANNED_PIXELS, height * width):
        raise JpegError("the JPEG has more scans than this edge decodes")
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    image: Any = None
    with contextlib.suppress(cv2.error):
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if image is None or image.shape != (height, width, 3):
        raise JpegError("the JPEG is damaged")
    decoded: NDArray[np.uint8] = image
    return decoded


def encode_jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    """Encode an image as a baseline JPEG.

    Args:
        image: uint8 RGB (H, W, 3), at most 65,500 pixels per side, which is libjpeg's limit.
        quality: 1 to 100.

    Returns:
        The file's bytes.

    Raises:
        JpegError: The image is too large for the format.
    """
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality]
    is_encoded, data = False, np.empty(0, np.uint8)
    if max(image.shape) <= _MAX_SIDE:
        is_encoded, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), settings)
    if not is_encoded:
        raise JpegError("the image is too large for a JPEG")
    return bytes(data)
