"""A process run by a reaper, as its user sees it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from edge_triton.triton import reaper
from edge_triton.triton.stub_processes import kill_named
from mvstylizer.private_folder import PrivateFolder

FOLDER_PREFIX = "mvstylizer-triton-"
PREFIX = re.compile(r"mvs_[0-9a-z_]{8,64}_")

_LOG_TAIL_BYTES = 1 << 16
_REAPER_MARGIN_S = 5.0  # beyond the times that the reaper gives itself


class ReapedProcess:
    """A working folder, and a reaper that waits for a command to run in it.

    The command's process group, the folder and the shared memory regions with the prefix are removed on
    `stop`, when the command ends, and when this process ends in any way (see `reaper`). If the reaper itself
    was killed, `stop` does its work; if this process was killed too, the next one does.

    Args:
        prefix: Prefix of the names of shared memory regions that the command may create; part of the command
            lines of its processes.

    Attributes:
        folder: The working folder.
    """

    def __init__(self, prefix: str) -> None:
        # The log has no name, so it vanishes with the last process that has it open.
        with tempfile.TemporaryFile() as log:
            self._log = os.dup(log.fileno())
        self._prefix = prefix
        self._private = PrivateFolder(FOLDER_PREFIX, prefix, _clean_up)
        self.folder: Path = self._private.path
        try:
            self._reaper = subprocess.Popen(
                [sys.executable, "-I", "-S", reaper.__file__, str(self.folder), prefix, str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._log,
                start_new_session=True,
                pass_fds=(self._private.fileno(),),
            )
        except BaseException:
            self._private.delete()
            os.close(self._log)
            raise

    @property
    def pid(self) -> int:
        """Process id of the reaper; the command is its child."""
        return self._reaper.pid

    def run(self, argv: list[str], env: dict[str, str]) -> None:
        """Have the reaper start the command; its output goes to the log."""
        self._order({"argv": argv, "env": env})

    def stop(self, grace_s: float) -> None:
        """End the command and wait until its processes, shared memory and files are gone.

        A reaper that does not respond, because it was stopped for example, is killed after a while.

        Args:
            grace_s: Time for an orderly exit, in seconds; 0 = kill it at once.
        """
        try:
            self._order({"grace_s": grace_s})
            with contextlib.suppress(BrokenPipeError):
                self._pipe.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._reaper.wait(grace_s + reaper.REAP_S + _REAPER_MARGIN_S)
        finally:
            self._reaper.kill()  # the server dies with it
            self._reaper.wait()
            _clean_up(self._prefix)
            self._private.delete()
            os.close(self._log)

    def ending(self) -> str:
        """Return how the command ended, as a phrase; empty while it runs."""
        status = self._reaper.poll()
        if status is None:
            return ""
        number = -status if status < 0 else status - 128
        if number in set(signal.Signals):
            return f"was ended by {signal.Signals(number).name}"
        return f"ended with status {status}"

    def log(self) -> str:
        """Return the end of the command's output."""
        size = os.fstat(self._log).st_size
        # Reads by position, because the command writes through the same file description.
        return os.pread(self._log, _LOG_TAIL_BYTES, max(0, size - _LOG_TAIL_BYTES)).decode(errors="replace")

    @property
    def _pipe(self) -> Any:
        return self._reaper.stdin

    def _order(self, order: dict[str, Any]) -> None:
        self._reaper.send_signal(signal.SIGCONT)  # it may have been stopped
        with contextlib.suppress(BrokenPipeError):
            self._pipe.write(json.dumps(order).encode() + b"\n")
            self._pipe.flush()


def _clean_up(prefix: str) -> None:
    """Do what a reaper that was killed could not: end the processes, remove the shared memory regions."""
    if PREFIX.fullmatch(prefix):
        kill_named(prefix)
        reaper.remove_regions(prefix)
