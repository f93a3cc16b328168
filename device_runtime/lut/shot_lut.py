"""``mvstylizer lut``: a style on one shot of a video, or on a photo, as a .cube file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from device_runtime.interpolation.affine_map import weakened
from device_runtime.lut.cube import SIZE, check_cube_output, fit_lut, write_cube
from device_runtime.media.photo import is_photo, read_photo
from device_runtime.media.reader import VideoError, VideoReader
from device_runtime.options import StylizeOptions
from device_runtime.stylizers.request_queue import KeyReplyError
from device_runtime.stylizers.shrink import shrunk
from device_runtime.stylizers.style_mix import StyleMix, StylePhotos, normalised
from mvstylizer.bundle import Bundle
from mvstylizer.stylizer import Stylizer

MAX_KEYS: Final = 8  # more tell a LUT nothing new
NETWORK_PIXELS: Final = 512 * 288  # where a bundle does not say


@dataclass(frozen=True)
class LutReport:
    """What a LUT was made from.

    Attributes:
        out: The file written.
        size: Nodes each way.
        key_frames: Key frames of the shot (their places in the video, from 0) that were stylized for it.
        start: Seconds at which the shot begins; 0 for a photo.
    """

    out: str
    size: int
    key_frames: list[int]
    start: float

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, fit for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Key:
    rgb: NDArray[np.uint8]
    place: int
    time: float


def shot_lut(
    source: Path,
    style_photo: StylePhotos,
    out: Path,
    *,
    stylizer: Stylizer,
    bundle: Bundle,
    at_s: float = 0.0,
    strength: float = 1.0,
    size: int = SIZE,
) -> LutReport:
    """Write the global part of a style on a shot as a 3D LUT; see `fit_lut`.

    Args:
        source: A video or a photo.
        style_photo: The photo whose colours it shall take on, or several and their weights.
        out: The result, .cube.
        stylizer: An edge, or this machine.
        bundle: Says at which size the network works.
        at_s: Seconds from the video's beginning: the shot at this time is taken.
        strength: 0 (nothing changes) to 1 (the full style).
        size: Nodes each way, 2 to 129.

    Raises:
        ValueError: `strength` or `size` is out of range, or a StyleWeightError.
        VideoError: The video cannot be read, or ends before `at_s`.
        PhotoError: A photo cannot be read.
        OutputError: The result cannot be written.
        MVStylizerError: The stylizer fails.
    """
    StylizeOptions(strength=strength)
    if not 2 <= size <= 129:
        raise ValueError(f"size {size} is not from 2 to 129")
    check_cube_output(out, source, *normalised(style_photo))
    style = StyleMix.read(style_photo)
    keys = [_Key(read_photo(source), 0, 0.0)] if is_photo(source) else _shot(source, bundle, at_s)
    code = style.encoded_by(stylizer)
    pixels = int(bundle.network.get("network_pixels", NETWORK_PIXELS))
    pairs = []
    for key in _spread(keys):
        small = shrunk(key.rgb, pixels)
        affine_map = stylizer.stylize(small, code, reply="map").affine_map
        if affine_map is None:
            raise KeyReplyError("The stylizer sent no map", "Check that the edge serves a bundle of this kit")
        pairs.append((small, weakened(affine_map, strength)))
    write_cube(out, fit_lut(pairs, size), " + ".join(path.stem for path in normalised(style_photo)))
    return LutReport(str(out), size, [key.place for key in _spread(keys)], round(keys[0].time, 3))


def _shot(source: Path, bundle: Bundle, at_s: float) -> list[_Key]:
    """Return the key frames of the shot at a time."""
    with VideoReader(source) as reader:
        for keys, end in _shots(reader, bundle):
            if at_s < end:
                return keys
    raise VideoError(f"{source.name} ends before {at_s:g} s", "Name a time within the video")


def _shots(reader: VideoReader, bundle: Bundle) -> Iterator[tuple[list[_Key], float]]:
    """Give each shot's key frames, at most twice as many as are used, and the second at which it ends."""
    selector = StylizeOptions().selector(bundle)
    pixels = int(bundle.network.get("network_pixels", NETWORK_PIXELS))
    keys: list[_Key] = []
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
            keys.append(_Key(shrunk(frame.rgb, pixels), frame.index, begin))
            if len(keys) > 2 * MAX_KEYS:
                del keys[1::2]
    yield keys, end


def _spread(keys: list[_Key]) -> list[_Key]:
    """Return some key frames evenly from all."""
    places = np.linspace(0, len(keys) - 1, min(len(keys), MAX_KEYS)).round().astype(int)
    return [keys[place] for place in places]
