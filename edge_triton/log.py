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
_MAX_NATIVE_BYTES = 4096
_NATIVE = logging.getLogger("edge_triton.native")
MAX_NATIVE_LINES = 10


class EdgeLog:
    """Receives the log records of a process from `start` on; one per process.

    What native libraries print on stderr, such as libjpeg on damaged images, becomes log records too, at most
    `MAX_NATIVE_LINES` a second.

    Args:
        as_json: Write JSON, with a line for each request; text has warnings only.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._lines: queue.Queue[str | None] = queue.Queue(_MAX_WAITING)
        self._handler = _Handler(self._lines, _JsonFormatter() if as_json else _TextFormatter())
        self._level = logging.INFO if as_json else logging.WARNING
        self._output = -1
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Log to stderr from now on."""
        logging.getLogger().addHandler(self._handler)
        logging.getLogger("edge_triton").setLevel(self._level)
        self._output = os.dup(_STDERR)
        native, end = os.pipe()
        os.dup2(end, _STDERR)
        os.close(end)
        for work in (self._write, lambda: self._read(native)):
            self._threads.append(threading.Thread(target=work, name="log", daemon=True))
            self._threads[-1].start()

    def say(self, text: str) -> None:
        """Write a line for the person who started the program."""
        record = logging.LogRecord("edge_triton", logging.INFO, "", 0, text, (), None)
        self._handler.put(self._handler.format(record) if self._as_json else text)

    def close(self) -> None:
        """Give stderr back, and write what waits if that is possible soon."""
        logging.getLogger().removeHandler(self._handler)
        os.dup2(self._output, _STDERR)  # which ends the reading thread
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=_END_TIMEOUT_S)
        for thread in self._threads:
            thread.join(_END_TIMEOUT_S)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            data = f"{line}\n".encode(errors="replace")
            with contextlib.suppress(OSError):  # full or closed: drop the line
                while data:
                    data = data[os.write(self._output, data) :]

    def _read(self, native: int) -> None:
        """Log what other code prints on stderr, and drop what is too much."""
        began, count, rest = 0.0, 0, b""
        while data := os.read(native, 1 << 16):
            *lines, rest = (rest[-_MAX_NATIVE_BYTES:] + data).split(b"\n")
            for line in lines:
                if time.monotonic() - began > 1:
                    began, count = time.monotonic(), 0
                count += 1
                if count <= MAX_NATIVE_LINES:
                    _NATIVE.warning("%s", line.decode(errors="replace"))
        os.close(native)


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
