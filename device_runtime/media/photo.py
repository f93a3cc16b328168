"""Read photos as upright RGB, and write them atomically."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from device_runtime.media.atomic_file import check_output, pending_file
from device_runtime.media.photo_header import header_size
from mvstylizer.errors import MVStylizerError
from mvstylizer.stylizer import MAX_ASPECT, is_too_thin

FORMATS: Final = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
MOVING: Final = (".gif", ".apng", ".avif")  # may contain several frames: treated as videos
JPEG_QUALITY: Final = 95
MAX_PIXELS: Final = 210_000_000  # phones have up to 200 megapixels; decoding takes 6 bytes for each


class PhotoError(MVStylizerError):
    """Error raised when a file cannot be read or written as a photo."""


class PhotoSizeError(PhotoError):
    """Error raised before a photo is decoded that has too many pixels, or is too thin for the network."""


def is_photo(path: Path) -> bool:
    """Return whether a file is a still picture, judging by its first bytes; False if it is missing."""
    return path.is_file() and path.suffix.lower() not in MOVING and cv2.haveImageReader(str(path))


def read_photo(path: Path) -> NDArray[np.uint8]:
    """Read a photo, upright (EXIF orientation applied) and without transparency.

    Args:
        path: JPEG, PNG, WebP, TIFF, BMP or another format that OpenCV reads.

    Returns:
        uint8 RGB (H, W, 3), 0..255; more than eight bits are scaled to eight.

    Raises:
        PhotoError: The file is missing, unreadable, too large or not a picture.
    """
    return np.asarray(read_pixels(path), np.uint8)


def read_pixels(path: Path, depth: int = 0) -> NDArray[Any]:
    """Read a picture like `read_photo`, optionally at its full bit depth.

    Args:
        path: See `read_photo`.
        depth: ``cv2.IMREAD_ANYDEPTH`` keeps more than eight bits; 0 scales them to eight.

    Returns:
        RGB (H, W, 3): uint8, or the file's own type.

    Raises:
        PhotoError: See `read_photo`.
    """
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise PhotoError(f"The picture {path} cannot be read ({error.strerror})", "Check the path") from error
    size = header_size(content.tobytes())
    if size is not None:
        _check_size(path, *size)
    try:
        picture = cv2.imdecode(content, cv2.IMREAD_COLOR_RGB | depth) if content.size else None
    except cv2.error:
        picture = None
    if picture is None:
        raise PhotoError(f"{path} cannot be read as a picture", "Choose a JPEG or PNG file")
    _check_size(path, *picture.shape[:2])
    return picture


def _check_size(path: Path, height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise PhotoSizeError(
            f"{path} has {width}×{height} pixels, more than {MAX_PIXELS // 1_000_000} megapixels",
            "Make it smaller first",
        )
    if is_too_thin(height, width):
        raise PhotoSizeError(f"{path} has {width}×{height} pixels, thinner than 1:{MAX_ASPECT}", "Crop it")


def check_photo_output(target: Path, *inputs: Path) -> Path:
    """Check early whether a photo can be written; see `check_output`.

    Raises:
        PhotoError: The suffix is unknown.
        OutputError: The folder is missing or read-only, or the target is one of `inputs`.
    """
    if target.suffix.lower() not in FORMATS:
        raise PhotoError(f"{target.name} does not have a photo suffix", f"Use {', '.join(FORMATS)}")
    return check_output(target, *inputs)


def write_photo(target: Path, photo: NDArray[np.uint8]) -> None:
    """Write a photo in the format of its suffix; JPEG at quality 95.

    Args:
        target: The file; replaced only by a complete one.
        photo: uint8 RGB (H, W, 3).

    Raises:
        PhotoError: The suffix is unknown, or the file cannot be written.
        OutputError: The folder is missing or read-only.
    """
    resolved = check_photo_output(target)
    # Other encoders warn about a setting that they do not know.
    settings = (
        [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if resolved.suffix.lower() in (".jpg", ".jpeg") else []
    )
    _, content = cv2.imencode(resolved.suffix, cv2.cvtColor(photo, cv2.COLOR_RGB2BGR), settings)
    try:
        with pending_file(resolved) as pending:
            pending.write_bytes(content.tobytes())
    except OSError as error:
        raise PhotoError(
            f"{target} cannot be written ({error.strerror})", "Free some space or choose another output"
        ) from error
