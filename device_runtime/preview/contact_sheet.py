"""A contact sheet: rows of pictures, with titles above the columns and captions above the rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from device_runtime.media.photo import write_photo

Picture = NDArray[np.uint8]

TILE: Final = 256  # pixels, width and maximum height of a tile
HEADER: Final = 28
GAP: Final = 4
INK: Final = (30, 30, 30)


def write_sheet(
    path: Path,
    titles: Sequence[str],
    rows: Sequence[Sequence[Picture | None]],
    captions: Sequence[str] | None = None,
    *,
    tile: int = TILE,
) -> None:
    """Write a contact sheet; None leaves a tile empty.

    Args:
        path: The file; its suffix selects the format.
        titles: One per column, in ASCII.
        rows: Pictures, uint8 RGB (H, W, 3); at least one in each row.
        captions: One per row, in ASCII; an empty one takes no room.
        tile: Width and maximum height of a picture in pixels.

    Raises:
        PhotoError: The file cannot be written.
    """
    width = len(titles) * (tile + GAP)
    strips = [_line(titles, width, tile + GAP)]
    for pictures, caption in zip(rows, captions or [""] * len(rows), strict=True):
        if caption:
            strips.append(_line([caption], width, width))
        strips.append(_strip(pictures, tile))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_photo(path, np.vstack(strips))


def _line(texts: Sequence[str], width: int, step: int) -> Picture:
    """Write texts next to each other, `step` pixels apart."""
    line = np.full((HEADER, width, 3), 255, np.uint8)
    for column, text in enumerate(texts):
        place = (column * step + 4, HEADER - 9)
        cv2.putText(line, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.55, INK, 1, cv2.LINE_AA)
    return line


def _strip(pictures: Sequence[Picture | None], tile: int) -> Picture:
    """Place pictures side by side, centered in their tiles; the strip is as high as the highest one."""
    tiles = [None if picture is None else _fitted(picture, tile) for picture in pictures]
    height = max(each.shape[0] for each in tiles if each is not None)
    strip = np.full((height + GAP, len(tiles) * (tile + GAP), 3), 255, np.uint8)
    for column, each in enumerate(tiles):
        if each is not None:
            tall, wide = each.shape[:2]
            top, left = (height - tall) // 2, column * (tile + GAP) + (tile - wide) // 2
            strip[top : top + tall, left : left + wide] = each
    return strip


def _fitted(picture: Picture, side: int) -> Picture:
    """Return a picture resized to a longer side of `side` pixels."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
