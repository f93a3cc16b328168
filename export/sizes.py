"""Frame sizes as they are written on a command line: ``512x256,1920x1080``."""

from __future__ import annotations

import re
from typing import Final

from mvstylizer.errors import MVStylizerError

Size = tuple[int, int]

LEAST: Final = 16
MOST: Final = 8192


class SizeError(MVStylizerError):
    """A text names no frame sizes."""


def parse_sizes(text: str) -> tuple[Size, ...]:
    """Return width and height of each size, in order, each once.

    Args:
        text: Comma-separated ``WIDTHxHEIGHT``; empty: none.

    Raises:
        SizeError: A part is no size, or a side is not within 16..8192.
    """
    sizes: dict[Size, None] = {}
    for part in filter(None, text.split(",")):
        match = re.fullmatch(r"\s*(\d{1,6})x(\d{1,6})\s*", part)
        if match is None:
            raise SizeError(f"{part!r} is no frame size", "Write WIDTHxHEIGHT, for example 1280x720")
        size = int(match[1]), int(match[2])
        if not all(LEAST <= side <= MOST for side in size):
            raise SizeError(f"{part.strip()} has a side outside {LEAST}..{MOST} pixels")
        sizes[size] = None
    return tuple(sizes)
