"""A process under a keeper, seen from the program that uses it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from edge_triton.triton import reaper

_LOG_TAIL = 1 << 16


class ReapedProcess:
    """A working folder and a keeper that waits for the command to run in it.

    From here on everything goes away with `stop`, with this process however it ends, or when the command
    ends: its process group, the folder, and the shared memory regions under the prefix (see `keeper`).

    Args:
        prefix: Start of the names of the shared memory regions that the command may make.

    Attributes:
        folder: The working folder.
    """

    def __init__(self, prefix: str) -> None:
        # The log has no name: it goes away with the last process that writes or reads it.
        with tempfile.TemporaryFile() as log:
            self._log = os.dup(log.fileno())
        self.folder = Path(tempfile.mkdtemp(prefix="mvstylizer-"))
        try:
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", reaper.__file__, str(self.folder), prefix, str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._log,
                start_new_session=True,
            )
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            os.close(self._log)
            raise

    @property
    def pid(self) -> int:
        """The keeper's process id; the command is its child."""
        return self._keeper.pid

    def run(self, argv: list[str], env: dict[str, str]) -> None:
        """Let the keeper start the command; what it prints goes to the log."""
        self._order({"argv": argv, "env": env})

    def stop(self, grace_s: float) -> None:
        """End the command and wait until no process, shared memory or file of it is left.

        Args:
            grace_s: How long it may take to end in order, in seconds; 0 = kill it at once.
        """
        try:
            self._order({"grace_s": grace_s})
            with contextlib.suppress(BrokenPipeError):
                self._pipe.close()
            self._keeper.wait()
        finally:
            os.close(self._log)

    def ending(self) -> str:
        """Return how the command ended, in words; empty while it runs."""
        status = self._keeper.poll()
        if status is None:
            return ""
        number = -status if status < 0 else status - 128
        if number in set(signal.Signals):
            return f"was ended by {signal.Signals(number).name}"
        return f"ended with status {status}"

    def log(self) -> str:
        """Return the end of what the command has printed."""
        size = os.fstat(self._log).st_size
        # Reading at a position: the command writes through the same file description.
        return os.pread(self._log, _LOG_TAIL, max(0, size - _LOG_TAIL)).decode(errors="replace")

    @property
    def _pipe(self) -> Any:
        return self._keeper.stdin

    def _order(self, order: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._pipe.write(json.dumps(order).encode() + b"\n")
            self._pipe.flush()
