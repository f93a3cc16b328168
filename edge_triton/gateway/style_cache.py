"""Cache of style photos and their codes: each photo is encoded once per model version.

A style code belongs to the model version that made it, and a phone keeps sending the code it has. When the
edge has switched to another version, the cached photo of that code is encoded again, invisibly to the phone.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

MAX_BYTES = 128 << 20
FIRST = 4  # bytes of a code's first value, which the phone may set
_MAX_VERSIONS = 8


@dataclass
class _CachedStyle:
    photo: NDArray[np.uint8]
    codes: dict[int, bytes] = field(default_factory=dict)


class StyleCache:
    """Photos and codes by content; the least recently used ones are dropped first.

    Args:
        max_bytes: Capacity for photos, in bytes.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._styles: OrderedDict[bytes, _CachedStyle] = OrderedDict()
        self._origins: dict[bytes, tuple[bytes, int]] = {}  # code -> photo key and version
        self._changed: dict[bytes, bytes] = {}  # code without its match -> code

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
        """Store the code that a version gave a photo.

        Args:
            key: The photo's `photo_key`.
            photo: uint8 RGB (1, H, W, 3); kept, not copied.
            version: Model version.
            code: float32 bytes.
        """
        if photo.nbytes > self._max_bytes:
            return
        if key not in self._styles:
            self._styles[key] = _CachedStyle(photo)
            self._bytes += photo.nbytes
        codes = self._styles[key].codes
        codes.setdefault(version, code)  # two requests may have encoded it at the same time
        self._origins[codes[version]] = key, version
        self._changed[codes[version][FIRST:]] = codes[version]
        if len(codes) > _MAX_VERSIONS:
            self._forget(codes.pop(min(codes)))
        self._styles.move_to_end(key)
        while self._bytes > self._max_bytes:
            _, oldest = self._styles.popitem(last=False)
            self._bytes -= oldest.photo.nbytes
            for dropped in oldest.codes.values():
                self._forget(dropped)

    def translate(self, code: bytes, version: int) -> bytes | NDArray[np.uint8]:
        """Return the code to use with a version in place of the code that a phone sent.

        Args:
            code: The phone's code: float32 bytes. The phone may have changed its first value, the match.
            version: Model version that will receive it.

        Returns:
            A code: the given one if it is unknown or was made by this version, otherwise this version's own.
            Or the photo (1, H, W, 3) if this version has to encode it first. `adopted` gives either the
            match that the phone asked for.
        """
        key, origin = self._origins.get(self._sent(code), (b"", version))
        if origin == version:
            return code
        own = self.code(key, version)
        return self._styles[key].photo if own is None else self.adopted(code, own)

    def adopted(self, asked: bytes, code: bytes) -> bytes:
        """Return a code with the match of the one that a phone sent, if the phone has changed it."""
        return code if asked in self._origins else asked[:FIRST] + code[FIRST:]

    def _sent(self, code: bytes) -> bytes:
        """Return the code that the phone received, with the match that it had then."""
        return code if code in self._origins else self._changed.get(code[FIRST:], code)

    def _forget(self, code: bytes) -> None:
        self._origins.pop(code, None)
        self._changed.pop(code[FIRST:], None)


def photo_key(photo: NDArray[np.uint8]) -> bytes:
    """Return a photo's cache key: the SHA-256 of its size and pixels."""
    return hashlib.sha256(repr(photo.shape).encode() + photo.tobytes()).digest()
