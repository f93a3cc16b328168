"""Log lines of an edge on stderr: text, or one JSON object per line.

A line is written by a thread of its own: a terminal that is stopped, a pipe that nobody reads or a full disk
delays and ends nothing. While it cannot be written, lines beyond the last thousand are dropped and counted.
"""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import os
import queue
import threading
import time
from typing import Any

from mvstylizer.errors import printable

_MAX_WAITING = 1000
_END_TIMEOUT_S = 1.0
_STDERR = 2


class EdgeLog:
    """Receives the log records of a process from `start` on; one per process.

    Args:
        as_json: Write JSON, with a line for each request; text has warnings only.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._lines: queue.Queue[str | None] = queue.Queue(_MAX_WAITING)
        self._handler = _Handler(self._lines, _JsonFormatter() if as_json else _TextFormatter())
        self._level = logging.INFO if as_json else logging.WARNING
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)

    def start(self) -> None:
        """Log to stderr from now on."""
        logging.getLogger().addHandler(self._handler)
        logging.getLogger("edge_triton").setLevel(self._level)
        self._thread.start()

    def say(self, text: str) -> None:
        """Write a line for the person who started the program."""
        record = logging.LogRecord("edge_triton", logging.INFO, "", 0, text, (), None)
        self._handler.put(self._handler.format(record) if self._as_json else text)

    def close(self) -> None:
        """Write what waits, if that is possible soon."""
        logging.getLogger().removeHandler(self._handler)
        try:
            self._lines.put(None, timeout=_END_TIMEOUT_S)
        except queue.Full:
            return
        self._thread.join(_END_TIMEOUT_S)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            data = f"{line}\n".encode(errors="replace")
            with contextlib.suppress(OSError):  # full or closed: drop the line
                while data:
                    # Not through sys.stderr, whose lock would then keep the program from ending.
                    data = data[os.write(_STDERR, data) :]


class _Handler(logging.Handler):
    def __init__(self, lines: queue.Queue[str | None], formatter: logging.Formatter) -> None:
        super().__init__()
        self._lines = lines
        self._dropped = 0
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        self.put(self.format(record))

    def put(self, line: str) -> None:
        if self._dropped:
            line = f"{line}\n{self._dropped} log lines were dropped"
        try:
            self._lines.put_nowait(line)
            self._dropped = 0
        except queue.Full:
            self._dropped += 1


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = f"{record.levelname.lower()}: {printable(record.getMessage())}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{at}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": printable(record.getMessage()),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)
