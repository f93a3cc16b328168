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
ENTRY_BYTES = 2048
"""What an entry takes in addition to its pixels: objects, digests and codes."""
FIRST = 4  # bytes of a code's first value, which the phone may set
_MAX_VERSIONS = 8


_Key = tuple[str, bytes]
"""A client's name, and the `photo_key` or the code."""


@dataclass
class _CachedStyle:
    photo: NDArray[np.uint8]
    codes: dict[int, bytes] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        return self.photo.nbytes + ENTRY_BYTES


class StyleCache:
    """Photos and codes of each client by content; the least recently used ones are dropped first.

    An entry belongs to the client that sent the photo: no other client can reach it, and `forget` drops it.

    Args:
        max_bytes: Capacity, in bytes.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._styles: OrderedDict[_Key, _CachedStyle] = OrderedDict()
        self._origins: dict[_Key, tuple[bytes, int]] = {}  # code -> photo key and version
        self._changed: dict[_Key, bytes] = {}  # code without its match -> code

    def __len__(self) -> int:
        return len(self._styles)

    @property
    def nbytes(self) -> int:
        """Memory in use, in bytes."""
        return self._bytes

    def code(self, client: str, key: bytes, version: int) -> bytes | None:
        """Return the code that a version gave the client's photo with this `photo_key`, or None."""
        style = self._styles.get((client, key))
        if style is None:
            return None
        self._styles.move_to_end((client, key))
        return style.codes.get(version)

    def add(self, client: str, key: bytes, photo: NDArray[np.uint8], version: int, code: bytes) -> None:
        """Store the code that a version gave a photo.

        Args:
            client: The client that sent the photo.
            key: The photo's `photo_key`.
            photo: uint8 RGB (1, H, W, 3); kept, not copied.
            version: Model version.
            code: float32 bytes.
        """
        if photo.nbytes + ENTRY_BYTES > self._max_bytes:
            return
        style = self._styles.get((client, key))
        if style is None:
            style = self._styles[client, key] = _CachedStyle(photo)
            self._bytes += style.nbytes
        code = style.codes.setdefault(version, code)  # two requests may have encoded it at the same time
        self._origins[client, code] = key, version
        self._changed[client, code[FIRST:]] = code
        if len(style.codes) > _MAX_VERSIONS:
            self._forget_code(client, style.codes.pop(min(style.codes)))
        self._styles.move_to_end((client, key))
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._styles)))

    def forget(self, client: str) -> None:
        """Drop all photos and codes of a client."""
        for key in [key for key in self._styles if key[0] == client]:
            self._drop(key)

    def translate(self, client: str, code: bytes, version: int) -> bytes | NDArray[np.uint8]:
        """Return the code to use with a version in place of the code that a phone sent.

        Args:
            client: The phone.
            code: The phone's code: float32 bytes. The phone may have changed its first value, the match.
            version: Model version that will receive it.

        Returns:
            A code: the given one if it is unknown or was made by this version, otherwise this version's own.
            Or the photo (1, H, W, 3) if this version has to encode it first. `adopted` gives either the
            match that the phone asked for.
        """
        sent = code if (client, code) in self._origins else self._changed.get((client, code[FIRST:]), code)
        key, origin = self._origins.get((client, sent), (b"", version))
        if origin == version:
            return code
        own = self.code(client, key, version)
        return self._styles[client, key].photo if own is None else self.adopted(client, code, own)

    def adopted(self, client: str, asked: bytes, code: bytes) -> bytes:
        """Return a code with the match of the one that a phone sent, if the phone has changed it."""
        return code if (client, asked) in self._origins else asked[:FIRST] + code[FIRST:]

    def _drop(self, key: _Key) -> None:
        style = self._styles.pop(key)
        self._bytes -= style.nbytes
        for code in style.codes.values():
            self._forget_code(key[0], code)

    def _forget_code(self, client: str, code: bytes) -> None:
        self._origins.pop((client, code), None)
        self._changed.pop((client, code[FIRST:]), None)


def photo_key(photo: NDArray[np.uint8]) -> bytes:
    """Return a photo's cache key: the SHA-256 of its size and pixels."""
    return hashlib.sha256(repr(photo.shape).encode() + photo.tobytes()).digest()
