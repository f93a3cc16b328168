"""One process per folder: a second cloud or edge on the same folder is refused."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fl.flower.processes import FederationError

LOCK = "lock"


@contextmanager
def folder_lock(folder: Path, command: str) -> Iterator[None]:
    """Hold a folder's lock; the kernel releases it when this process ends, however it ends.

    Args:
        folder: Flower's state, of which there may be only one user; created if missing.
        command: What uses it, for the error message.

    Raises:
        FederationError: Another process holds the lock, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / LOCK).open("ab")
    except OSError as err:
        raise FederationError(f"Cannot write {folder}: {err}", "Choose another folder") from err
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            raise FederationError(
                f"Another `{command}` is running on {folder.parent}", "Stop it, or choose another folder"
            ) from err
        yield
