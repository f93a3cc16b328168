"""A contact sheet: content, style and the result of every method, one row per pair."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.metrics.similarity import at_long_side
from device_runtime.media.photo import write_photo

Picture = NDArray[np.uint8]

TILE: Final = 256  # pixels, width and maximum height of a tile
HEADER: Final = 28
GAP: Final = 4


def write_sheet(path: Path, titles: Sequence[str], rows: Sequence[Sequence[Picture | None]]) -> None:
    """Write a contact sheet; None leaves a tile empty.

    Raises:
        PhotoError: The file cannot be written.
    """
    strips = [_strip(pictures) for pictures in rows]
    header = np.full((HEADER, len(titles) * (TILE + GAP), 3), 255, np.uint8)
    for column, title in enumerate(titles):
        place = (column * (TILE + GAP) + 4, HEADER - 9)
        cv2.putText(header, title, place, cv2.FONT_HERSHEY_SIMPLEX, 0.55, (30, 30, 30), 1, cv2.LINE_AA)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_photo(path, np.vstack([header, *strips]))


def _strip(pictures: Sequence[Picture | None]) -> Picture:
    """Place pictures side by side, centered in their tiles; the strip is as high as the highest one."""
    tiles = [None if picture is None else at_long_side(picture, TILE) for picture in pictures]
    height = max(tile.shape[0] for tile in tiles if tile is not None)
    strip = np.full((height + GAP, len(tiles) * (TILE + GAP), 3), 255, np.uint8)
    for column, tile in enumerate(tiles):
        if tile is not None:
            tall, wide = tile.shape[:2]
            top, left = (height - tall) // 2, column * (TILE + GAP) + (TILE - wide) // 2
            strip[top : top + tall, left : left + wide] = tile
    return strip
