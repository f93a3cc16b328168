"""Clips written with PyAV, for properties that no sample footage has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Picture = Callable[[int, int, int], NDArray[np.uint8]]


def moving_square(index: int, width: int, height: int) -> NDArray[np.uint8]:
    """A colored scene with a bright square that moves: no two frames or orientations look alike."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    scene = np.stack([x / width * 200, y / height * 200, np.full_like(x, 90)], -1).astype(np.uint8)
    corner = (4 + 2 * index % max(1, width - 24), 4)
    return np.asarray(cv2.rectangle(scene, corner, (corner[0] + 12, 16), (250, 240, 60), -1), np.uint8)


def write_clip(
    path: Path,
    pts: Sequence[int] = range(12),
    *,
    size: tuple[int, int] = (64, 48),
    time_base: Fraction = Fraction(1, 25),
    rotation: float | None = None,
    pixel_format: str = "yuv420p",
    tags: Sequence[int] | None = None,
    sound: str | None = None,
    picture: Picture = moving_square,
    codec: str = "libx264",
) -> Path:
    """Write a clip with the given times (units of `time_base`) and return its path.

    `rotation` is counterclockwise in degrees; `tags` are matrix, range, primaries and transfer (H.273);
    `sound` is an encoder of a 44.1 kHz tone; `codec` is the picture's encoder.
    """
    options = {"video_track_timescale": str(time_base.denominator)} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", container_options=options) as container:
        stream = container.add_stream(codec, rate=Fraction(25))
        stream.width, stream.height = size
        stream.pix_fmt = pixel_format
        context = stream.codec_context
        context.time_base = time_base
        if tags is not None:
            context.colorspace, context.color_range, context.color_primaries, context.color_trc = tags
        if rotation is not None:
            stream.set_display_rotation(rotation)
        tone = container.add_stream(sound, rate=44100, layout="mono") if sound else None
        for index, time in enumerate(pts):
            frame = av.VideoFrame.from_ndarray(picture(index, *size), format="rgb24")
            frame.pts, frame.time_base = time, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone is not None:
            _write_tone(container, tone, start=float(pts[0] * time_base), seconds=len(pts) / 25)
    return path


def remux(source: Path, target: Path, *, until: float = 1e9) -> Path:
    """Copy the video packets unchanged into another container (MP4s with the index first)."""
    options = {"movflags": "faststart"} if target.suffix == ".mp4" else {}
    with av.open(str(source)) as given, av.open(str(target), "w", options=options) as copy:
        stream = copy.add_stream_from_template(given.streams.video[0], opaque=True)
        for packet in given.demux(video=0):
            if packet.size and (packet.dts or 0) * packet.time_base < until:
                packet.stream = stream
                copy.mux(packet)
    return target


def _write_tone(container: Any, stream: Any, start: float, seconds: float) -> None:
    first = round(start * 44100)
    for place in range(first, first + int(seconds * 44100), 1024):
        wave = np.sin(np.arange(place, place + 1024) * 0.06) * 12000
        frame = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 44100, place, Fraction(1, 44100)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
