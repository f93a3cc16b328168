"""The federation's journal: an append-only log with one JSON object per line, synced to disk on every write.

The journal alone defines the state of a federation. A process killed while writing loses only that line: the
next start truncates it.
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

_LOCK_POLL_S = 0.1
_RENAMED_EVENTS = {"answer": "update"}
_RENAMED_KEYS = {"turn": "round", "answers": "trained_round"}


class JournalError(MVStylizerError):
    """The journal is damaged, or another process is writing it."""


class Journal:
    """An append-only file of rows.

    Args:
        path: The file; created with its folder if missing.
        wait_s: Time to wait for another process that is writing it, in seconds.

    Raises:
        JournalError: A line is not a JSON object, or another process is writing this journal.
    """

    def __init__(self, path: Path, wait_s: float = 0.0) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = path.open("ab")
        self._lock(time.monotonic() + wait_s)
        self.rows: list[Row] = self._recover()
        sync_folder(path.parent)

    def write(self, event: str, **fields: Any) -> Row:
        """Append a row with its event and time; it is on disk when this returns."""
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

    def _lock(self, end: float) -> None:
        """Lock the file until it is closed, so that there is only one writer; try until `end`, monotonic."""
        while not self._is_locked():
            if time.monotonic() >= end:
                self._stream.close()
                raise JournalError(
                    f"Another process is writing {self.path}", "Wait for that run to finish, or stop it"
                )
            time.sleep(_LOCK_POLL_S)

    def _is_locked(self) -> bool:
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _recover(self) -> list[Row]:
        rows = read_journal(self.path)
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(self.path, whole)
        return rows


def read_journal(path: Path) -> list[Row]:
    """Read a journal, possibly while another process is writing it: an incomplete last line is ignored.

    Raises:
        JournalError: A line is not a JSON object with an event.
    """
    content = path.read_bytes()
    rows = []
    for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), 1):
        try:
            row = json.loads(line)
        except ValueError as err:
            raise JournalError(f"{path}, line {number}: {err}", "Restore the file from a backup") from err
        if not isinstance(row, dict) or "event" not in row:
            raise JournalError(f"{path}, line {number} is not an event", "Restore the file from a backup")
        rows.append(_current(row))
    return rows


def _current(row: Row) -> Row:
    """Return a row under today's names; journals from before version 0.2 use older ones."""
    row["event"] = _RENAMED_EVENTS.get(row["event"], row["event"])
    return {_RENAMED_KEYS.get(key, key): value for key, value in row.items()}
