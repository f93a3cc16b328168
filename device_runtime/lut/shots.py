"""Shots of a video and their key frames, for one LUT per shot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from device_runtime.frames import NETWORK_PIXELS
from device_runtime.interpolation.grid import grid_of, weakened
from device_runtime.lut.cube import Lut, fit_lut
from device_runtime.media.reader import VideoReader
from device_runtime.options import StylizeOptions
from device_runtime.stylizers.resize import shrunk
from mvstylizer.bundle import Bundle
from mvstylizer.stylizer import Stylizer

MAX_KEYS: Final = 8  # more do not improve the LUT


@dataclass(frozen=True)
class ShotKey:
    """A key frame of a shot.

    Attributes:
        rgb: uint8 RGB (H, W, 3).
        index: Its number in the video, from 0.
        seconds: Its time from the first frame.
    """

    rgb: NDArray[np.uint8]
    index: int
    seconds: float


@dataclass(frozen=True)
class Shot:
    """A shot.

    Attributes:
        keys: Its key frames, at most twice as many as are used.
        first: Number of its first frame.
        end: Number of the frame after its last one.
        end_s: Time at which it ends, from the first frame of the video.
    """

    keys: list[ShotKey]
    first: int
    end: int
    end_s: float


def shots(reader: VideoReader, options: StylizeOptions, bundle: Bundle) -> Iterator[Shot]:
    """Yield the shots of a video, each as soon as the next one begins."""
    selector = options.selector(bundle)
    pixels = int(bundle.network.get("network_pixels", NETWORK_PIXELS))
    keys: list[ShotKey] = []
    first, index, end_s, origin = 0, -1, 0.0, None
    for frame in reader:
        origin = frame.pts if origin is None else origin
        begin_s, end_s = (
            float((pts - origin) * frame.time_base) for pts in (frame.pts, frame.pts + frame.duration)
        )
        index, decision = frame.index, selector.decide(frame)
        if decision.is_cut and keys:
            yield Shot(keys, first, index, begin_s)
            keys, first = [], index
        if decision.is_key:
            keys.append(ShotKey(shrunk(frame.rgb, pixels), index, begin_s))
            if len(keys) > 2 * MAX_KEYS:
                del keys[1::2]
    yield Shot(keys, first, index + 1, end_s)


def spread(keys: list[ShotKey]) -> list[ShotKey]:
    """Return at most `MAX_KEYS` key frames, evenly spaced."""
    chosen = np.linspace(0, len(keys) - 1, min(len(keys), MAX_KEYS)).round().astype(int)
    return [keys[number] for number in chosen]


def fit_shot(
    keys: list[ShotKey],
    code: NDArray[np.float32],
    options: StylizeOptions,
    *,
    stylizer: Stylizer,
    pixels: int,
    size: int,
) -> Lut:
    """Stylize a shot's key frames and fit a LUT to their maps; see `fit_lut`.

    Args:
        keys: The key frames.
        code: The style code.
        options: `strength` applies.
        stylizer: Stylizes them.
        pixels: Size at which they are stylized, height × width.
        size: Nodes per axis.

    Raises:
        MVStylizerError: The stylizer fails.
    """
    pairs = []
    for key in spread(keys):
        small = shrunk(key.rgb, pixels)
        grid = grid_of(stylizer.stylize(small, code, reply="map"))
        pairs.append((small, weakened(grid, options.strength)))
    return fit_lut(pairs, size)
