"""Style photos that an edge has seen: a photo is encoded once, and its code outlives a model swap.

A style code belongs to the model version that made it. A phone keeps sending the code it has; when the
edge serves another version by then, the photo behind the code is encoded again, and the phone never knows.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

MAX_BYTES = 128 << 20
_MAX_VERSIONS = 8


@dataclass
class _Style:
    photo: NDArray[np.uint8]
    codes: dict[int, bytes] = field(default_factory=dict)


class Styles:
    """Photos and codes by content; the ones not used for longest go when there is no room.

    Args:
        most_bytes: Room for photos, in bytes.
    """

    def __init__(self, most_bytes: int = MAX_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._styles: OrderedDict[bytes, _Style] = OrderedDict()
        self._makers: dict[bytes, tuple[bytes, int]] = {}

    def __len__(self) -> int:
        return len(self._styles)

    def code(self, key: bytes, version: int) -> bytes | None:
        """Return the code that a version gave the photo with this `photo_key`, or None."""
        style = self._styles.get(key)
        if style is None:
            return None
        self._styles.move_to_end(key)
        return style.codes.get(version)

    def add(self, key: bytes, photo: NDArray[np.uint8], version: int, code: bytes) -> None:
        """Remember the code that a version gave a photo.

        Args:
            key: The photo's `photo_key`.
            photo: uint8 RGB (1, H, W, 3); kept, not copied.
            version: Model version.
            code: float32 bytes.
        """
        if photo.nbytes > self._most_bytes:
            return
        if key not in self._styles:
            self._styles[key] = _Style(photo)
            self._bytes += photo.nbytes
        codes = self._styles[key].codes
        codes.setdefault(version, code)  # two requests may have encoded it at the same time
        self._makers[codes[version]] = key, version
        if len(codes) > _MAX_VERSIONS:
            self._makers.pop(codes.pop(min(codes)), None)
        self._styles.move_to_end(key)
        while self._bytes > self._most_bytes:
            _, oldest = self._styles.popitem(last=False)
            self._bytes -= oldest.photo.nbytes
            for gone in oldest.codes.values():
                self._makers.pop(gone, None)

    def translate(self, code: bytes, version: int) -> bytes | NDArray[np.uint8]:
        """Return the code to use with a version instead of one that a phone sends.

        Args:
            code: What the phone sends: float32 bytes.
            version: Model version that will get it.

        Returns:
            A code: the one given, where nothing is known about it or the version made it itself. Or the
            photo (1, H, W, 3) that the version has to encode first.
        """
        key, maker = self._makers.get(code, (b"", version))
        if maker == version:
            return code
        return self.code(key, version) or self._styles[key].photo


def photo_key(photo: NDArray[np.uint8]) -> bytes:
    """Return what a photo is known by: the SHA-256 of its size and pixels."""
    return hashlib.sha256(repr(photo.shape).encode() + photo.tobytes()).digest()
