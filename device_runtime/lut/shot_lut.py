"""Compute a .cube LUT (``mvstylizer lut``) for a style on one shot of a video, or on a photo."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from device_runtime.frames import NETWORK_PIXELS
from device_runtime.interpolation.grid import grid_of, weakened
from device_runtime.lut.cube import SIZE, check_cube_output, fit_lut, write_cube
from device_runtime.media.photo import is_photo, read_photo
from device_runtime.media.reader import VideoReader
from device_runtime.media.video_info import VideoError
from device_runtime.options import DEFAULT_OPTIONS, StylizeOptions
from device_runtime.report import versioned
from device_runtime.stylizers.resize import shrunk
from device_runtime.stylizers.style_mix import StyleMix, StylePhotos, check_match, normalized
from mvstylizer.bundle import Bundle
from mvstylizer.stylizer import Stylizer

MAX_KEYS: Final = 8  # more do not improve the LUT
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


@dataclass(frozen=True)
class _ShotKey:
    rgb: NDArray[np.uint8]
    index: int
    time: float


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
            `match` says how the style is followed.
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
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"size {size} is not between {MIN_SIZE} and {MAX_SIZE}")
    check_cube_output(out, source, *normalized(style_photo))
    check_match(options.match, bundle)
    style = StyleMix.read(style_photo, options.match)
    keys = (
        [_ShotKey(read_photo(source), 0, 0.0)] if is_photo(source) else _shot(source, options, bundle, at_s)
    )
    code = style.encoded_by(stylizer)
    pixels = int(bundle.network.get("network_pixels", NETWORK_PIXELS))
    pairs = []
    for key in _spread(keys):
        small = shrunk(key.rgb, pixels)
        grid = grid_of(stylizer.stylize(small, code, reply="map"))
        pairs.append((small, weakened(grid, options.strength)))
    write_cube(out, fit_lut(pairs, size), " + ".join(path.stem for path in normalized(style_photo)))
    return LutReport(str(out), size, [key.index for key in _spread(keys)], round(keys[0].time, 3))


def _shot(source: Path, options: StylizeOptions, bundle: Bundle, at_s: float) -> list[_ShotKey]:
    """Return the key frames of the shot at a time."""
    with VideoReader(source) as reader:
        for keys, end in _shots(reader, options, bundle):
            if at_s < end:
                return keys
    raise VideoError(f"{source.name} ends before {at_s:g} s", "Choose a time within the video")


def _shots(
    reader: VideoReader, options: StylizeOptions, bundle: Bundle
) -> Iterator[tuple[list[_ShotKey], float]]:
    """Yield each shot's key frames, at most twice as many as are used, and its end in seconds."""
    selector = options.selector(bundle)
    pixels = int(bundle.network.get("network_pixels", NETWORK_PIXELS))
    keys: list[_ShotKey] = []
    first, end = None, 0.0
    for frame in reader:
        first = frame.pts if first is None else first
        begin, end = (
            float((pts - first) * frame.time_base) for pts in (frame.pts, frame.pts + frame.duration)
        )
        decision = selector.decide(frame)
        if decision.is_cut and keys:
            yield keys, begin
            keys = []
        if decision.is_key:
            keys.append(_ShotKey(shrunk(frame.rgb, pixels), frame.index, begin))
            if len(keys) > 2 * MAX_KEYS:
                del keys[1::2]
    yield keys, end


def _spread(keys: list[_ShotKey]) -> list[_ShotKey]:
    """Return at most `MAX_KEYS` key frames, evenly spaced."""
    chosen = np.linspace(0, len(keys) - 1, min(len(keys), MAX_KEYS)).round().astype(int)
    return [keys[number] for number in chosen]
