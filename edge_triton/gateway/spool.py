"""Images that clients allow the edge to train on: key frames and style photos, as plain JPEG files.

    <folder>/frames/<client>-<when>-<content>.jpg
    <folder>/styles/<client>-<when>-<content>.jpg

A client appears as a digest only. Files are encoded from the pixels, so they carry no metadata of the phone's
own file, such as place or camera, and only the edge's user can read them. The folder is limited in size and
age, and a client can have all of its files deleted.
"""

from __future__ import annotations

import hashlib
import os
import re
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
MAX_AGE_S = 14 * 86400.0
_QUALITY = 95
_FILE_NAME = re.compile(r"[0-9a-f]{16}-(?P<when>\d{14,16})-[0-9a-f]{16}\.jpg", re.ASCII)


class SpoolError(MVStylizerError):
    """The spool folder cannot be used."""


class _Entry(NamedTuple):
    created: float
    path: Path
    size: int


class Spool:
    """A folder of images, limited in size and age; thread-safe, for one process at a time.

    Args:
        folder: Created if missing; files of an earlier run count.
        max_bytes: Size limit of all files together.
        max_age_s: Age at which a file is deleted, in seconds.
        clock: Seconds since 1970.

    Raises:
        SpoolError: The folder cannot be created or read.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int = MAX_BYTES,
        max_age_s: float = MAX_AGE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._clock = clock
        self._lock = threading.Lock()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for kind in KINDS:
                (folder / kind).mkdir(exist_ok=True)
                (folder / kind).chmod(0o700)
                for part in (folder / kind).glob("*.part"):
                    if part.is_file():
                        part.unlink()
            self._entries = deque(sorted(self._found()))
        except OSError as err:
            raise SpoolError(f"Spool {folder}: {err.strerror}", "Pass a writable folder to --spool") from err
        self._bytes = sum(entry.size for entry in self._entries)

    @property
    def bytes(self) -> int:
        """Size of all files, in bytes."""
        return self._bytes

    def put(self, kind: Kind, client: str, image: NDArray[np.uint8]) -> None:
        """Store an image, deleting the oldest ones to make room.

        Args:
            kind: Key frame or style photo.
            client: Name of the client that allowed it.
            image: uint8 RGB (H, W, 3).

        Raises:
            OSError: It cannot be written; no partial file is left.
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
        """Delete all files of a client."""
        with self._lock:
            for kind in KINDS:
                for path in (self._folder / kind).glob(f"{_name(client)}-*"):
                    path.unlink(missing_ok=True)
            self._entries = deque(e for e in self._entries if not e.path.name.startswith(_name(client) + "-"))
            self._bytes = sum(entry.size for entry in self._entries)

    def shrink(self) -> None:
        """Delete the files that are too old."""
        with self._lock:
            self._shrink(self._clock())

    def _shrink(self, now: float) -> None:
        while self._entries and (
            self._bytes > self._max_bytes or now - self._entries[0].created > self._max_age_s
        ):
            oldest = self._entries.popleft()
            oldest.path.unlink(missing_ok=True)
            self._bytes -= oldest.size

    def _found(self) -> list[_Entry]:
        """Return the files of earlier runs; whatever else is in the folder is not ours."""
        entries = []
        for path in (path for kind in KINDS for path in (self._folder / kind).iterdir()):
            name = _FILE_NAME.fullmatch(path.name)
            if name and path.is_file() and not path.is_symlink():
                path.chmod(0o600)
                entries.append(_Entry(int(name["when"]) / 1000, path, path.stat().st_size))
        return entries


def _name(client: str) -> str:
    return hashlib.sha256(client.encode()).hexdigest()[:16]


def _write(path: Path, data: bytes) -> None:
    """Write a file atomically."""
    part = path.with_suffix(".part")
    try:
        with open(os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
