"""Compute a .cube LUT (``mvstylizer lut``) for a style on one shot of a video, or on a photo."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from device_runtime.frames import NETWORK_PIXELS
from device_runtime.lut.cube import SIZE, check_cube_output, write_cube
from device_runtime.lut.shots import ShotKey, fit_shot, shots, spread
from device_runtime.media.excerpt import ExcerptReader
from device_runtime.media.input_lut import read_content
from device_runtime.media.photo import is_photo
from device_runtime.media.video_info import VideoError
from device_runtime.options import DEFAULT_OPTIONS, StylizeOptions
from device_runtime.report import versioned
from device_runtime.stylizers.style_mix import StyleMix, StylePhotos, check_match, normalized
from mvstylizer.bundle import Bundle
from mvstylizer.stylizer import Stylizer

MIN_SIZE: Final = 2
MAX_SIZE: Final = 129


@dataclass(frozen=True)
class LutReport:
    """Result of computing a LUT.

    Attributes:
        out: The file written.
        size: Nodes per axis.
        key_frames: Indices (from 0) of the shot's key frames that were stylized for it.
        start: Start of the shot in seconds; 0 for a photo.
    """

    out: str
    size: int
    key_frames: list[int]
    start: float

    def as_dict(self) -> dict[str, Any]:
        """Return the fields and ``schema_version`` as JSON-serializable values."""
        return versioned(asdict(self))


def check_size(size: int) -> None:
    """Raise ValueError for a number of nodes that is out of range."""
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"size {size} is not between {MIN_SIZE} and {MAX_SIZE}")


def shot_lut(
    source: Path,
    style_photo: StylePhotos,
    out: Path,
    *,
    options: StylizeOptions = DEFAULT_OPTIONS,
    stylizer: Stylizer,
    bundle: Bundle,
    at_s: float = 0.0,
    size: int = SIZE,
) -> LutReport:
    """Write the global part of a style on a shot as a 3D LUT; see `fit_lut`.

    Args:
        source: A video or a photo.
        style_photo: The style photo, or several with weights.
        out: The result, .cube.
        options: `policy` and `max_interval` select the key frames; `strength` 0 is the identity;
            `match` says how the style is followed; `input_lut` is applied first and not part of the result.
        stylizer: Stylizes the shot's key frames.
        bundle: Declares the network's input size.
        at_s: A time within the shot, in seconds from the start of the video.
        size: Nodes per axis, 2 to 129.

    Raises:
        ValueError: `size` is out of range, or a StyleWeightError.
        VideoError: The video cannot be read, or ends before `at_s`.
        PhotoError: A photo cannot be read.
        OutputError: The result cannot be written.
        MVStylizerError: The stylizer fails.
    """
    check_size(size)
    check_cube_output(out, source, *normalized(style_photo))
    check_match(options.match, bundle)
    style = StyleMix.read(style_photo, options.match)
    keys = (
        [ShotKey(read_content(source, options.input_lut, max_pixels=options.max_pixels), 0, 0.0)]
        if is_photo(source)
        else _shot(source, options, bundle, at_s)
    )
    pixels = int(bundle.network.get("network_pixels", NETWORK_PIXELS))
    lut = fit_shot(keys, style.encoded_by(stylizer), options, stylizer=stylizer, pixels=pixels, size=size)
    write_cube(out, lut, " + ".join(path.stem for path in normalized(style_photo)))
    return LutReport(str(out), size, [key.index for key in spread(keys)], round(keys[0].seconds, 3))


def _shot(source: Path, options: StylizeOptions, bundle: Bundle, at_s: float) -> list[ShotKey]:
    """Return the key frames of the shot at a time."""
    with ExcerptReader(source, input_lut=options.input_lut) as reader:
        for shot in shots(reader, options, bundle):
            if at_s < shot.end_s:
                return shot.keys
    raise VideoError(f"{source.name} ends before {at_s:g} s", "Choose a time within the video")
