"""Sizes in pixels, and how a command line writes them: ``512x256,1920x1080``."""

from __future__ import annotations

import re
from typing import Final

from mvstylizer.errors import MVStylizerError

WidthHeight = tuple[int, int]
"""Width, then height: the order of command lines and file names."""

MIN_SIDE: Final = 16
MAX_SIDE: Final = 8192


class SizeError(MVStylizerError):
    """A text is not a list of frame sizes."""


def parse_sizes(text: str) -> tuple[WidthHeight, ...]:
    """Return the sizes in order, without duplicates.

    Args:
        text: Comma-separated ``WIDTHxHEIGHT``; may be empty.

    Raises:
        SizeError: A part is not a size, or a side is outside 16..8192.
    """
    sizes: dict[WidthHeight, None] = {}
    for part in filter(None, text.split(",")):
        match = re.fullmatch(r"\s*(\d{1,6})x(\d{1,6})\s*", part)
        if match is None:
            raise SizeError(f"{part!r} is not a frame size", "Write WIDTHxHEIGHT, for example 1280x720")
        size = int(match[1]), int(match[2])
        if not all(MIN_SIDE <= side <= MAX_SIDE for side in size):
            raise SizeError(f"{part.strip()} has a side outside {MIN_SIDE}..{MAX_SIDE} pixels")
        sizes[size] = None
    return tuple(sizes)
