"""A contact sheet: content, style and every method's result side by side, a row a pair."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.metrics import at_long_side
from device_runtime.photo import write_photo

Picture = NDArray[np.uint8]

TILE: Final = 256  # pixels, both sides of a picture's place
HEADER: Final = 28
GAP: Final = 4


def write_sheet(path: Path, titles: Sequence[str], rows: Sequence[Sequence[Picture | None]]) -> None:
    """Draw a sheet; a picture that is None leaves its place empty.

    Raises:
        PhotoError: The file cannot be written.
    """
    height, width = HEADER + len(rows) * (TILE + GAP), len(titles) * (TILE + GAP) - GAP
    sheet = np.full((height, width, 3), 255, np.uint8)
    for column, title in enumerate(titles):
        place = (column * (TILE + GAP) + 4, HEADER - 9)
        cv2.putText(sheet, title, place, cv2.FONT_HERSHEY_SIMPLEX, 0.55, (30, 30, 30), 1, cv2.LINE_AA)
    for row, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            if picture is not None:
                _put(sheet, picture, HEADER + row * (TILE + GAP), column * (TILE + GAP))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_photo(path, sheet)


def _put(sheet: Picture, picture: Picture, top: int, left: int) -> None:
    small = at_long_side(picture, TILE)
    height, width = small.shape[:2]
    top, left = top + (TILE - height) // 2, left + (TILE - width) // 2
    sheet[top : top + height, left : left + width] = small
