"""Parts of a picture that Pillow has opened: orientation, EXIF data, transparency, more than eight bits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from device_runtime.media.orientation import Orientation

if TYPE_CHECKING:
    from PIL.Image import Exif, Image

ORIENTATION: Final = 0x0112
# Orientation, description, camera, software, date, artist, host, copyright; directories of details and place.
TIFF_DESCRIPTIVE: Final = {ORIENTATION, 270, 271, 272, 305, 306, 315, 316, 33432, 0x8769, 0x8825}
DETAILS: Final = 0x8769  # the directory of exposure, size, …
SIZES: Final = (0xA002, 0xA003)  # width and height, as stored
PNG_DEPTH: Final = 24  # byte of the file that holds the bits per channel
TIFF_DEPTHS: Final = 258


def orientation_and_exif(image: Image, *, is_deep: bool) -> tuple[Orientation, bytes]:
    """Return the orientation of the pixels as read, and the EXIF data without it."""
    if image.format == "TIFF" and not is_deep:
        image.load()  # which removes the orientation; to do so first would confuse it
    try:
        exif = _described(image)
        orientation = Orientation.from_exif(int(exif.pop(ORIENTATION, 1)))
        sizes = exif.get_ifd(DETAILS) if DETAILS in exif else {}
        if orientation.transposed and all(tag in sizes for tag in SIZES):
            sizes[SIZES[0]], sizes[SIZES[1]] = sizes[SIZES[1]], sizes[SIZES[0]]
        content = exif.tobytes() if len(exif) else b""
    except (SyntaxError, ValueError, KeyError, TypeError, OSError):  # damaged
        return Orientation(), b""
    # Pillow and OpenCV turn a TIFF upright themselves, and only a TIFF.
    return Orientation() if image.format == "TIFF" else orientation, content


def _described(image: Image) -> Exif:
    """Return the EXIF data; a TIFF's own directory also says how its pixels are stored, which is omitted."""
    exif = image.getexif()
    if image.format == "TIFF":
        for tag in set(exif) - TIFF_DESCRIPTIVE:
            del exif[tag]
    return exif


def alpha_of(image: Image) -> NDArray[np.uint8] | None:
    """Return the transparency, uint8 (H, W), as stored; None if the picture has none."""
    if not image.has_transparency_data:
        return None
    return np.asarray(image.convert("RGBA").getchannel("A"), np.uint8)


def deep_pixels(path: Path, image: Image) -> NDArray[np.uint16] | None:
    """Return the pixels of a PNG or TIFF of more than eight bits as stored, uint16 RGB or RGBA."""
    if image.format == "PNG":
        with path.open("rb") as file:
            is_deep = file.read(PNG_DEPTH + 1)[-1] > 8
    else:
        depths = getattr(image, "tag_v2", {}).get(TIFF_DEPTHS, 8)
        is_deep = max(depths if isinstance(depths, tuple) else (depths,)) > 8
    if not is_deep:
        return None
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype not in (np.uint16, np.float32):
        return None
    if pixels.dtype == np.float32:
        pixels = np.rint(np.clip(pixels, 0, 1) * 65535).astype(np.uint16)
    if pixels.ndim == 2:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), np.uint16)
    order = cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(pixels, order), np.uint16)


def to_bytes(deep: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Round 16 bits to eight."""
    return np.asarray((deep.astype(np.uint32) + 128) // 257, np.uint8)
