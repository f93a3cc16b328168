"""Temporary folders that survive nobody: what a killed program left is deleted by the next one.

The owner holds a lock on a file in the folder, and the kernel releases it when the last process that has it
open ends. So a folder without a holder is stale, also where processes of other containers are not visible.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

LOCK = ".owner"
MAX_NOTE = 200  # bytes


class PrivateFolder:
    """A new folder in the system's temporary one that only this user can read.

    Args:
        prefix: Of its name; stale folders with the same prefix are deleted first.
        note: Text for the program that finds the folder stale, at most `MAX_NOTE` bytes.
        on_stale: Called with the note of each stale folder before it is deleted.

    Attributes:
        path: The folder.
    """

    def __init__(
        self, prefix: str, note: str = "", on_stale: Callable[[str], None] = lambda note: None
    ) -> None:
        delete_stale(prefix, on_stale)
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        part = self.path / f"{LOCK}.part"
        self._lock = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        os.write(self._lock, note.encode()[:MAX_NOTE])
        part.rename(self.path / LOCK)  # nobody sees the lock before it is held

    def fileno(self) -> int:
        """Return the lock's descriptor; a child that inherits it owns the folder too."""
        return self._lock

    def delete(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Leave the folder to the child that inherited the lock."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def delete_stale(prefix: str, on_stale: Callable[[str], None]) -> None:
    """Delete this user's folders whose owner has died; see `PrivateFolder`."""
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        try:
            lock = os.open(folder / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:  # of another user, being made or being deleted
            continue
        try:
            if _is_ours(folder.lstat()) and _is_ours(os.fstat(lock)):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                on_stale(os.read(lock, MAX_NOTE).decode(errors="replace"))
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # it has an owner
            continue
        finally:
            os.close(lock)


def _is_ours(state: os.stat_result) -> bool:
    return state.st_uid == os.geteuid() and not stat.S_ISLNK(state.st_mode)
