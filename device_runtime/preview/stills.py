"""Choose the frames that a preview shows: one of a photo or a video, or three of each scene."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from device_runtime.key_frames.scene_cuts import SceneCuts, luma_thumbnail
from device_runtime.media.excerpt import WHOLE, ExcerptReader, Moment, Span
from device_runtime.media.input_lut import read_content
from device_runtime.media.photo import is_photo
from device_runtime.media.planes import Planes
from device_runtime.media.reader import Frame, VideoReader
from device_runtime.media.video_info import VideoError
from device_runtime.stylizers.resize import shrunk

PER_SCENE: Final = 3
MAX_CANDIDATES: Final = 24  # frames of a scene that are held in memory, evenly spaced


@dataclass(frozen=True)
class Still:
    """A frame of a preview.

    Attributes:
        picture: uint8 RGB (H, W, 3), shrunk to the size at which it is stylized and shown.
        frame: Its number in the part of the video that is previewed, from 0.
        seconds: Its time in the whole video, from the first frame.
        scene: Number of its scene, from 0.
    """

    picture: NDArray[np.uint8]
    frame: int = 0
    seconds: float = 0.0
    scene: int = 0


def one_still(source: Path, pixels: int, span: Span = WHOLE, input_lut: str | None = None) -> Still:
    """Return one frame: the first of the part, or the one in the middle if it has no start.

    Args:
        source: A video or a photo.
        pixels: Size of the picture, height × width.
        span: The part of the video.
        input_lut: A .cube file that is applied first.

    Raises:
        VideoError: The video cannot be read, or ends before the part begins.
        PhotoError: The photo cannot be read.
    """
    if is_photo(source):
        return Still(shrunk(read_content(source, input_lut), pixels))
    if span.start is None:
        middle = Span(_middle(source, span.end), span.end)
        with suppress(VideoError):  # of a truncated file
            return _first(source, pixels, middle, input_lut)
    return _first(source, pixels, span, input_lut)


def scene_stills(
    source: Path, pixels: int, span: Span, max_scenes: int, input_lut: str | None = None
) -> tuple[list[Still], bool]:
    """Return three frames of each scene, at one sixth, the middle and five sixths of it.

    Args:
        source: A video.
        pixels: Size of the pictures, height × width.
        span: The part of the video.
        max_scenes: Number of scenes after which the rest is left out.
        input_lut: A .cube file that is applied first.

    Returns:
        The frames in order, and whether there are more scenes.

    Raises:
        VideoError: The video cannot be read, or ends before the part begins.
    """
    stills: list[Still] = []
    with ExcerptReader(source, span, input_lut=input_lut) as reader:
        for number, candidates in enumerate(_scenes(reader, pixels)):
            if number == max_scenes:
                return stills, True
            stills += [replace(still, scene=number) for still in _chosen(candidates)]
    return stills, False


def _first(source: Path, pixels: int, span: Span, input_lut: str | None) -> Still:
    with ExcerptReader(source, span, input_lut=input_lut) as reader:
        return _still(reader, next(iter(reader)), pixels)


def _still(reader: ExcerptReader, frame: Frame, pixels: int) -> Still:
    picture = frame.picture
    small = picture.shrunk(pixels) if isinstance(picture, Planes) else shrunk(picture, pixels)
    return Still(small, frame.index, round(float(reader.seconds(frame)), 3))


def _scenes(reader: ExcerptReader, pixels: int) -> Iterator[list[Still]]:
    """Yield evenly spaced frames of each scene."""
    begins_scene, candidates, first, step = SceneCuts(), list[Still](), 0, 1
    for frame in reader:
        if begins_scene(luma_thumbnail(frame.picture)) and candidates:
            yield candidates
            candidates, first, step = [], frame.index, 1
        if (frame.index - first) % step == 0:
            candidates.append(_still(reader, frame, pixels))
        if len(candidates) > MAX_CANDIDATES:
            candidates, step = candidates[::2], 2 * step
    yield candidates


def _chosen(candidates: list[Still]) -> list[Still]:
    places = ((2 * number + 1) * len(candidates) // (2 * PER_SCENE) for number in range(PER_SCENE))
    return [candidates[place] for place in dict.fromkeys(places)]


def _middle(source: Path, end: Moment | None) -> Moment | None:
    """Return the time in the middle; None if the file does not declare its duration."""
    with VideoReader(source) as reader:
        info = reader.info
    ends = [limit for limit in (info.duration, end and end.in_seconds(info.rate)) if limit]
    # A frame earlier, so that a single frame is not missed.
    return Moment(max(Fraction(0), min(ends) / 2 - 1 / info.rate)) if ends else None
