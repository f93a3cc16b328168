"""Formats in which photos are written, and what each of them can hold."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

JPEG_QUALITY: Final = 95
PNG_SIGNATURE_AND_HEADER: Final = 33  # bytes before which no other chunk may come
EXIF_MARK: Final = b"Exif\x00\x00"


@dataclass(frozen=True)
class PhotoFormat:
    """A format.

    Attributes:
        name: Pillow's name.
        has_alpha: Whether it keeps transparency.
        has_depth: Whether it can have 16 bits per channel.
        has_metadata: Whether it keeps EXIF data and a color profile.
        options: For Pillow's encoder.
    """

    name: str
    has_alpha: bool = True
    has_depth: bool = False
    has_metadata: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)


_JPEG: Final = PhotoFormat("JPEG", has_alpha=False, options={"quality": JPEG_QUALITY})
_TIFF: Final = PhotoFormat("TIFF", has_depth=True, options={"compression": "tiff_lzw"})
_HEIF: Final = PhotoFormat("HEIF", options={"quality": 90})
FORMATS: Final = {
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".png": PhotoFormat("PNG", has_depth=True),
    ".webp": PhotoFormat("WEBP", options={"quality": 95}),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".bmp": PhotoFormat("BMP", has_alpha=False, has_metadata=False),
    ".avif": PhotoFormat("AVIF", options={"quality": 90}),
    ".heic": _HEIF,
    ".heif": _HEIF,
}


def add_heif() -> None:
    """Teach Pillow HEIC, on machines that have libheif's package; not all phones do."""
    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()


def encode_photo(
    pixels: NDArray[Any],
    kind: PhotoFormat,
    *,
    exif: bytes = b"",
    profile: bytes | None = None,
    dpi: tuple[float, float] | None = None,
) -> tuple[bytes, list[str]]:
    """Encode a photo.

    Args:
        pixels: uint8 RGB or RGBA (H, W, 3 or 4); uint16 if the format has this depth.
        kind: The format.
        exif: EXIF data as in a JPEG.
        profile: ICC profile.
        dpi: Resolution.

    Returns:
        The file's content, and a line for each thing that it could not keep.

    Raises:
        OSError: The encoder fails, for example because the photo is too large for the format.
    """
    lost = []
    if not kind.has_metadata and (exif or profile):
        lost.append("its format keeps neither EXIF data nor a color profile")
    if pixels.dtype == np.uint16:
        return _encode_deep(pixels, kind, exif, profile, lost), lost
    from PIL import Image

    add_heif()
    options = dict(kind.options)
    if kind.has_metadata:
        options |= {"exif": exif} if exif else {}
        options |= {"icc_profile": profile} if profile else {}
    if dpi and kind.name in ("JPEG", "PNG", "TIFF", "BMP"):
        options["dpi"] = dpi
    if kind.name == "TIFF" and exif:
        options["compression"] = "raw"  # libtiff, which compresses, refuses most EXIF data
    encoded = io.BytesIO()
    try:
        Image.fromarray(pixels).save(encoded, kind.name, **options)
    except KeyError as error:
        raise OSError(None, "run: pip install pillow-heif") from error
    except (ValueError, struct.error) as error:  # too large, or EXIF data that does not fit
        raise OSError(None, str(error)) from error
    return encoded.getvalue(), lost


def _encode_deep(
    pixels: NDArray[np.uint16], kind: PhotoFormat, exif: bytes, profile: bytes | None, lost: list[str]
) -> bytes:
    """Encode with OpenCV, as Pillow has no 16-bit colors, and add what OpenCV omits to a PNG."""
    order = cv2.COLOR_RGBA2BGRA if pixels.shape[2] == 4 else cv2.COLOR_RGB2BGR
    _, encoded = cv2.imencode(".png" if kind.name == "PNG" else ".tif", cv2.cvtColor(pixels, order))
    content: bytes = encoded.tobytes()
    if kind.name == "PNG":
        head, rest = content[:PNG_SIGNATURE_AND_HEADER], content[PNG_SIGNATURE_AND_HEADER:]
        named = b"ICC\x00\x00" + zlib.compress(profile) if profile else b""
        return head + _chunk(b"iCCP", named) + _chunk(b"eXIf", exif.removeprefix(EXIF_MARK)) + rest
    if exif or profile:
        lost.append("a TIFF of 16 bits is written without EXIF data and color profile (its colors are sRGB)")
    return content


def _chunk(kind: bytes, body: bytes) -> bytes:
    """Return a chunk of a PNG; nothing for an empty one."""
    if not body:
        return b""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
