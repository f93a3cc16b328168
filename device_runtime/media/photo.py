"""Read photos as upright sRGB, and write them atomically with what belongs to them.

Usage:
    photo = open_photo(Path("beach.heic"))
    write_like(Path("out.jpg"), photo.rgb, photo)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from os.path import exists, isfile  # unlike Path's, they accept a name that is too long
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from warnings import catch_warnings, simplefilter

import cv2
import numpy as np
from numpy.typing import NDArray

from device_runtime.media.atomic_file import check_output, pending_file, write_hint
from device_runtime.media.color_profile import ColorProfile
from device_runtime.media.input_file import not_a_file
from device_runtime.media.photo_format import FORMATS, add_heif, encode_photo
from device_runtime.media.photo_parts import alpha_of, deep_pixels, orientation_and_exif, to_bytes
from mvstylizer.errors import MVStylizerError
from mvstylizer.stylizer import MAX_ASPECT, is_too_thin

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS: Final = 210_000_000  # phones have up to 200 megapixels
# What Pillow's and OpenCV's decoders raise for damaged files.
DAMAGED: Final = (
    *(OSError, ValueError, SyntaxError, EOFError, RuntimeError, TypeError, LookupError, ArithmeticError),
    *(struct.error, cv2.error),
)
# Formats with several pictures that are one film; in the others the further ones are previews or pages.
FILMS: Final = ("PNG", "GIF", "WEBP", "AVIF")
# Tried in turn. Pillow knows more, but some of them have no mark of their own, and others are documents.
READ: Final = ("JPEG", "PNG", "WEBP", "HEIF", "AVIF", "TIFF", "GIF", "BMP", "DIB", "JPEG2000", "PPM", "QOI")


class PhotoError(MVStylizerError):
    """Error raised when a file cannot be read or written as a photo."""


class PhotoSizeError(PhotoError):
    """Error raised before a photo is decoded that has too many pixels, or is too thin for the network."""


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo as read.

    Attributes:
        rgb: uint8 sRGB (H, W, 3), upright; the colors of transparent pixels as stored.
        alpha: uint8 (H, W), 255 = opaque; None without transparency.
        deep: uint16 sRGB (H, W, 3) of a file with more than eight bits; otherwise None.
        exif: EXIF data without the orientation, as in a JPEG; may be empty.
        profile: ICC profile for a file with the same colors in sRGB; None if the source has none.
        dpi: Resolution, or None.
        warnings: One line for each thing the user should know.
    """

    rgb: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None = None
    deep: NDArray[np.uint16] | None = None
    exif: bytes = b""
    profile: bytes | None = None
    dpi: tuple[float, float] | None = None
    warnings: list[str] = field(default_factory=list)


def is_photo(path: Path, out: Path | None = None) -> bool:
    """Return whether a file is a still picture, judging by its content; False if it is missing.

    Args:
        path: The file.
        out: What is made of it. A moving picture, such as an animated PNG, counts as a photo (its first
            picture) only if a photo is made of it.
    """
    try:
        with _opened(path) as image:
            is_film = image.format in FILMS and getattr(image, "n_frames", 1) > 1
            return not is_film or (out is not None and out.suffix.lower() in FORMATS)
    except PhotoError:
        return False


def read_photo(path: Path, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Read the colors of a photo, upright, in sRGB; transparent parts are white.

    Args:
        path: See `open_photo`.
        max_pixels: See `open_photo`.

    Returns:
        uint8 RGB (H, W, 3), 0..255; more than eight bits are scaled to eight.

    Raises:
        PhotoError: See `open_photo`.
    """
    photo = open_photo(path, max_pixels=max_pixels)
    return photo.rgb if photo.alpha is None else on_white(photo.rgb, photo.alpha)


def open_photo(path: Path, *, max_pixels: int = MAX_PIXELS) -> Photo:
    """Read a photo with everything that is to be kept.

    Args:
        path: JPEG, PNG, WebP, TIFF, BMP, HEIC, AVIF or another format that Pillow reads.
        max_pixels: A larger photo is refused before memory is spent on it.

    Raises:
        PhotoError: The file is missing, unreadable, not a picture or too large.
    """
    with _opened(path) as image:
        _check_size(path, image, max_pixels)
        warnings = []
        if image.format in FILMS and getattr(image, "n_frames", 1) > 1:
            warnings.append(f"{path.name} is a moving picture: only its first picture is used")
        if image.format == "TIFF" and getattr(image, "n_frames", 1) > 1:
            warnings.append(f"{path.name} has several pages: only the first one is used")
        deep = deep_pixels(path, image)
        orientation, exif = orientation_and_exif(image, is_deep=deep is not None)
        profile = ColorProfile.of(image)
        alpha = alpha_of(image) if deep is None or deep.shape[2] < 4 else to_bytes(deep[..., 3])
        rgb = profile.to_srgb(image) if deep is None else None
        if deep is not None:
            deep = profile.deep_to_srgb(deep[..., :3])
            rgb = to_bytes(deep)
        if profile.is_damaged:
            warnings.append(f"{path.name}: its color profile cannot be used, its colors are read as sRGB")
        dpi = image.info.get("dpi", (1, 1))
    return Photo(
        rgb=orientation.apply(np.asarray(rgb)),
        alpha=None if alpha is None or alpha.min() == 255 else orientation.apply(alpha),
        deep=None if deep is None else orientation.apply(deep),
        exif=exif,
        profile=profile.for_srgb,
        dpi=dpi if min(dpi) > 1 else None,  # 1 = unknown
        warnings=warnings,
    )


def read_pixels(path: Path) -> NDArray[Any]:
    """Read a label image: its values as stored, upright, without color management.

    Returns:
        RGB (H, W, 3): uint8, or uint16 for a file with more than eight bits.

    Raises:
        PhotoError: See `open_photo`.
    """
    with _opened(path) as image:
        _check_size(path, image, MAX_PIXELS)
        deep = deep_pixels(path, image)
        orientation, _ = orientation_and_exif(image, is_deep=deep is not None)
        return orientation.apply(np.asarray(image.convert("RGB")) if deep is None else deep[..., :3])


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
        photo: uint8 sRGB (H, W, 3).

    Raises:
        PhotoError: The suffix is unknown, or the file cannot be written.
        OutputError: The folder is missing or read-only.
    """
    write_like(target, photo, Photo(photo))


def write_like(target: Path, photo: NDArray[np.uint8] | NDArray[np.uint16], like: Photo) -> list[str]:
    """Write a photo with what belongs to its source: transparency, EXIF data, resolution and profile.

    Args:
        target: The file; replaced only by a complete one.
        photo: sRGB (H, W, 3), uint8, or uint16 for PNG and TIFF.
        like: The source.

    Returns:
        A line for each thing that the format does not keep.

    Raises:
        PhotoError: See `write_photo`.
        OutputError: See `write_photo`.
    """
    resolved = check_photo_output(target)
    kind = FORMATS[resolved.suffix.lower()]
    warnings = []
    pixels: NDArray[Any] = photo
    if pixels.dtype == np.uint16 and not kind.has_depth:
        pixels = to_bytes(pixels)
    if like.deep is not None and pixels.dtype == np.uint8:
        warnings.append(f"{target.name} has 8 bits per channel, its source more")
    if like.alpha is not None and kind.has_alpha:
        alpha = like.alpha.astype(pixels.dtype) * (257 if pixels.dtype == np.uint16 else 1)
        pixels = np.dstack([pixels, alpha])
    elif like.alpha is not None:
        pixels = on_white(pixels, like.alpha)
        warnings.append(f"{target.name}: its format has no transparency, transparent parts are white")
    try:
        content, lost = encode_photo(pixels, kind, exif=like.exif, profile=like.profile, dpi=like.dpi)
        with pending_file(resolved) as pending:
            pending.write_bytes(content)
    except OSError as error:
        raise PhotoError(
            f"{target} cannot be written ({error.strerror or error})", write_hint(error)
        ) from error
    return [*warnings, *(f"{target.name}: {line}" for line in lost)]


def on_white(rgb: NDArray[Any], alpha: NDArray[np.uint8]) -> NDArray[Any]:
    """Show the transparent parts of a picture as white.

    Args:
        rgb: uint8 or uint16 (H, W, 3).
        alpha: uint8 (H, W).
    """
    white = np.iinfo(rgb.dtype).max
    share = alpha[..., None].astype(np.float32) / 255
    return np.asarray(np.rint(rgb * share + white * (1 - share)), rgb.dtype)


@contextmanager
def _opened(path: Path) -> Iterator[Image]:
    """Open a picture with Pillow; errors while it is decoded within the block become a PhotoError."""
    from PIL import Image

    add_heif()
    Image.MAX_IMAGE_PIXELS = None  # `_check_size` is stricter, and says what to do
    if not isfile(path):
        why = "No such file or directory" if not exists(path) else not_a_file(path)
        raise PhotoError(f"The picture {path} cannot be read ({why})", "Check the path")
    try:
        # Given a name, Pillow maps some TIFFs into memory, and turns them twice.
        with path.open("rb") as file, _quiet(), Image.open(file, formats=_formats()) as image:
            yield image
    except PermissionError as error:
        raise PhotoError(f"The picture {path} cannot be read ({error.strerror})", "Check the path") from error
    except DAMAGED as error:
        raise PhotoError(f"{path} cannot be read as a picture", "Choose a JPEG or PNG file") from error


def _formats() -> list[str]:
    from PIL import Image

    Image.init()
    return [name for name in READ if name in Image.OPEN]


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress Pillow's warnings about damaged metadata."""
    with catch_warnings():
        simplefilter("ignore")
        yield


def _check_size(path: Path, image: Image, max_pixels: int) -> None:
    """Check the size that the header gives, before anything is decoded."""
    width, height = image.size
    if height * width > max_pixels:
        raise PhotoSizeError(
            f"{path} has {width}×{height} pixels, more than {max_pixels / 1e6:g} megapixels",
            "Make it smaller, or raise --max-pixels",
        )
    if is_too_thin(height, width):
        raise PhotoSizeError(f"{path} has {width}×{height} pixels, thinner than 1:{MAX_ASPECT}", "Crop it")
