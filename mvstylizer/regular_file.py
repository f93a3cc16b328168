"""Regular files in folders that others can write: opening a FIFO would block, and a link leads elsewhere."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_CHUNK = 1 << 20
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)


def odd_entries(folder: Path) -> list[str]:
    """Return the names in a folder that are not regular files, sorted.

    Raises:
        OSError: The folder cannot be read.
    """
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not entry.is_file(follow_symlinks=False))


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading; never waits, as opening a FIFO would.

    Raises:
        OSError: It is missing, a link, or not a regular file.
    """
    handle = os.open(path, _FLAGS)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    return os.fdopen(handle, "rb")


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Read a regular file.

    Raises:
        OSError: See `open_regular`; or it is larger than `max_bytes`.
    """
    with open_regular(path) as stream:
        content = stream.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"Larger than {max_bytes} bytes", str(path))
    return content


def copy_regular(path: Path, out: Path, max_bytes: int) -> None:
    """Copy a regular file into a new file.

    Raises:
        OSError: See `read_regular`; or the disk is full.
    """
    with open_regular(path) as source, out.open("xb") as target:
        while chunk := source.read(_CHUNK):
            if target.tell() + len(chunk) > max_bytes:
                raise OSError(errno.EFBIG, f"Larger than {max_bytes} bytes", str(path))
            target.write(chunk)
