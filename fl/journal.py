"""The federation's journal: one JSON object a line, on the disk before anything relies on it.

The state of a federation is what its journal says. A kill in the middle of a line loses that line only: the
next start cuts it off.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any

from fl.parameters import sync_folder
from mvstylizer.errors import MVStylizerError

Row = dict[str, Any]


class JournalError(MVStylizerError):
    """A journal holds a line that nobody could have left by dying."""


class Journal:
    """An append-only file of rows.

    Args:
        path: The file; made with its folder when it is not there.

    Raises:
        JournalError: A line other than the last is no JSON object, or another process writes this journal.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = path.open("ab")
        self._lock()
        self.rows: list[Row] = self._recover()
        sync_folder(path.parent)

    def write(self, event: str, **fields: Any) -> Row:
        """Append a row with its event and time; it is on the disk when this returns."""
        row = {"event": event, "time": round(time.time(), 3), **fields}
        self._stream.write(json.dumps(row).encode() + b"\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self.rows.append(row)
        return row

    def events(self, *names: str) -> list[Row]:
        """Return the rows of these events, oldest first."""
        return [row for row in self.rows if row["event"] in names]

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _lock(self) -> None:
        """Hold the file until it is closed: two writers would tell two stories."""
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            raise JournalError(
                f"Another process writes {self.path}", "Wait until its run has ended, or end it"
            ) from err

    def _recover(self) -> list[Row]:
        rows = read_journal(self.path)
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(self.path, whole)
        return rows


def read_journal(path: Path) -> list[Row]:
    """Read a journal that another process may be writing: a last line without its end is left out.

    Raises:
        JournalError: A line is no JSON object.
    """
    content = path.read_bytes()
    rows = []
    for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), 1):
        try:
            row = json.loads(line)
        except ValueError as err:
            raise JournalError(f"{path}, line {number}: {err}", "Restore the file from a backup") from err
        if not isinstance(row, dict) or "event" not in row:
            raise JournalError(f"{path}, line {number} is no event", "Restore the file from a backup")
        rows.append(row)
    return rows
