"""Size of a picture from its header: a small file that claims gigabytes is refused before it is decoded."""

from __future__ import annotations

import struct
from contextlib import suppress

from edge_triton.client.jpeg import JpegError, jpeg_size

_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_TIFF_TYPES = {3: "H", 4: "I", 16: "Q"}
_MAX_TIFF_TAGS = 4096


def header_size(data: bytes) -> tuple[int, int] | None:
    """Return (height, width) as the header of a PNG, JPEG, WebP, BMP, GIF or TIFF file says.

    Args:
        data: The file; a TIFF's header may be at its end.

    Returns:
        The size as stored, before any orientation; None for another format or a damaged header.
    """
    with suppress(struct.error, OverflowError, JpegError):
        if data[:8] == b"\x89PNG\r\n\x1a\n":
            width, height = struct.unpack_from(">II", data, 16)
            return height, width
        if data[:2] == b"\xff\xd8":
            return jpeg_size(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp_size(data)
        if data[:2] == b"BM":
            width, height = struct.unpack_from("<ii", data, 18)
            return abs(height), abs(width)
        if data[:3] == b"GIF":
            width, height = struct.unpack_from("<HH", data, 6)
            return height, width
        if data[:2] in (b"II", b"MM"):
            return _tiff_size(data, "<" if data[:2] == b"II" else ">")
    return None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[27:30], "little"), 1 + int.from_bytes(data[24:27], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return height & 0x3FFF, width & 0x3FFF
    return None


def _tiff_size(data: bytes, order: str) -> tuple[int, int] | None:
    """Return the largest width and height of the first directory's tags."""

    def number(kind: str, at: int) -> int:
        return int(struct.unpack_from(order + kind, data, at)[0])

    is_big = number("H", 2) == 43
    start = number("Q", 8) if is_big else number("I", 4)
    count = number("Q" if is_big else "H", start)
    first, step, value_at = (start + 8, 20, 12) if is_big else (start + 2, 12, 8)
    sides = {_TIFF_WIDTH: 0, _TIFF_HEIGHT: 0}
    for at in range(first, first + step * min(count, _MAX_TIFF_TAGS), step):
        tag, kind = number("H", at), number("H", at + 2)
        if tag in sides and kind in _TIFF_TYPES:
            sides[tag] = max(sides[tag], number(_TIFF_TYPES[kind], at + value_at))
    return (sides[_TIFF_HEIGHT], sides[_TIFF_WIDTH]) if all(sides.values()) else None
