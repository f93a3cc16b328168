"""What phones allow the edge to learn from: their key frames and style photos, as plain JPEG files.

    <folder>/frames/<client>-<when>-<content>.jpg
    <folder>/styles/<client>-<when>-<content>.jpg

A client is named by a digest only. Files are written anew from the pixels, so no place, time or camera of
the phone's own file gets in. The folder is bounded in bytes and in age, and a client can have all of its
files removed.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_triton.client.jpeg import encode_jpeg
from mvstylizer.errors import MVStylizerError

Kind = Literal["frames", "styles"]
KINDS: tuple[Kind, ...] = ("frames", "styles")
MAX_BYTES = 2 << 30
MAX_S = 14 * 86400.0
_QUALITY = 95


class SpoolError(MVStylizerError):
    """The spool's folder cannot be used."""


class _Entry(NamedTuple):
    when: float
    path: Path
    size: int


class Spool:
    """A bounded folder of images; may be used from several threads, and by one process at a time.

    Args:
        folder: Made when it is not there; what a former run left in it counts.
        most_bytes: Most bytes of all files.
        longest_s: Age at which a file goes, in seconds.
        clock: Seconds since 1970.

    Raises:
        SpoolError: The folder cannot be made or read.
    """

    def __init__(
        self,
        folder: Path,
        *,
        most_bytes: int = MAX_BYTES,
        longest_s: float = MAX_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._longest_s = longest_s
        self._clock = clock
        self._lock = threading.Lock()
        try:
            for kind in KINDS:
                (folder / kind).mkdir(parents=True, exist_ok=True)
                for part in (folder / kind).glob("*.part"):
                    part.unlink()
            self._entries = deque(sorted(self._found()))
        except OSError as err:
            raise SpoolError(f"Spool {folder}: {err.strerror}", "Name a folder that can be written") from err
        self._bytes = sum(entry.size for entry in self._entries)

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return self._bytes

    def put(self, kind: Kind, client: str, image: NDArray[np.uint8]) -> None:
        """Keep an image; older ones go when there is no room.

        Args:
            kind: What it is.
            client: Who allowed it.
            image: uint8 RGB (H, W, 3).

        Raises:
            OSError: It cannot be written; nothing of it is left.
        """
        data = encode_jpeg(image, _QUALITY)
        content = hashlib.sha256(data).hexdigest()[:16]
        with self._lock:
            now = self._clock()
            path = self._folder / kind / f"{_name(client)}-{round(1000 * now):014d}-{content}.jpg"
            if not any(path.parent.glob(f"{_name(client)}-*-{content}.jpg")):
                _write(path, data)
                self._entries.append(_Entry(now, path, len(data)))
                self._bytes += len(data)
            self._shrink(now)

    def forget(self, client: str) -> None:
        """Remove all files of a client."""
        with self._lock:
            for kind in KINDS:
                for path in (self._folder / kind).glob(f"{_name(client)}-*"):
                    path.unlink(missing_ok=True)
            self._entries = deque(e for e in self._entries if not e.path.name.startswith(_name(client) + "-"))
            self._bytes = sum(entry.size for entry in self._entries)

    def shrink(self) -> None:
        """Remove what has become too old."""
        with self._lock:
            self._shrink(self._clock())

    def _shrink(self, now: float) -> None:
        while self._entries and (
            self._bytes > self._most_bytes or now - self._entries[0].when > self._longest_s
        ):
            oldest = self._entries.popleft()
            oldest.path.unlink(missing_ok=True)
            self._bytes -= oldest.size

    def _found(self) -> list[_Entry]:
        paths = [path for kind in KINDS for path in (self._folder / kind).glob("*-*-*.jpg")]
        return [_Entry(int(path.name.split("-")[1]) / 1000, path, path.stat().st_size) for path in paths]


def _name(client: str) -> str:
    return hashlib.sha256(client.encode()).hexdigest()[:16]


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    part = path.with_suffix(".part")
    try:
        with part.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
