"""Animated WebP, which FFmpeg does not decode, as a video in memory."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np

HEAD: Final = 21  # bytes up to the flags of the extended format
ANIMATED: Final = 0x02
DEFAULT_MS: Final = 100  # of a frame without a duration, as browsers show it
MILLISECONDS: Final = Fraction(1, 1000)


def film_of_webp(path: Path) -> io.BytesIO | None:
    """Decode an animated WebP with Pillow, into a lossless Matroska file.

    Returns:
        The video, or None if the file is not an animated WebP.

    Raises:
        OSError: The file cannot be read, or is damaged.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    if head[:4] + head[8:16] != b"RIFFWEBPVP8X" or not head[-1] & ANIMATED:
        return None
    film = io.BytesIO()
    with av.open(film, "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.codec_context.time_base = MILLISECONDS
        stream.pix_fmt = "bgra"
        for frame in _frames(path):
            if not stream.codec_context.is_open:
                stream.width, stream.height = frame.width, frame.height
            for packet in stream.encode(frame):
                packet.duration = frame.duration
                container.mux(packet)
        container.mux(stream.encode(None))
    film.seek(0)
    return film


def _frames(path: Path) -> Iterator[av.VideoFrame]:
    from PIL import Image, ImageSequence

    pts = 0
    with Image.open(path) as image:
        for picture in ImageSequence.Iterator(image):
            pixels = np.asarray(picture.convert("RGBA"))
            frame = av.VideoFrame.from_ndarray(pixels, format="rgba").reformat(format="bgra")
            frame.pts, frame.time_base = pts, MILLISECONDS
            frame.duration = int(picture.info.get("duration") or DEFAULT_MS)
            pts += frame.duration
            yield frame
