"""The keeper: a small process that starts the server, outlives whoever asked for it, and cleans up.

Python cannot tidy up after its own ``kill -9``, and Triton leaves its stub processes and its shared memory
behind when it dies hard. So the server is a child of this script, not of the program that uses it. The
keeper has its own session (Ctrl-C in the terminal does not reach the server) and reads orders from its
standard input, one JSON object a line: first ``{"argv": [...], "env": {...}}``, then ``{"grace_s": 1.5}`` to
stop. When the pipe closes, the parent is gone or the server ends, it kills the server's process group, waits
until every process of it is gone, and removes the shared memory and the working folder.

Run by path with ``python -I -S``; standard library only, and no import of the kit.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SHARED_MEMORY = Path("/dev/shm")
SCRATCH = Path("/tmp")
POLL_S = 0.1
REAP_S = 10.0

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None)


class Orders:
    """The parent's orders, one JSON object a line on standard input.

    Args:
        parent: The parent's process id. A process it forked may hold the pipe open after its death, so the
            end of the pipe alone does not tell.
    """

    def __init__(self, parent: int) -> None:
        self._parent = parent
        self._buffer = b""

    def read(self, over: Callable[[], bool] = lambda: False) -> dict[str, Any]:
        """Return the next order, or an empty one when the parent is gone or `over` says so."""
        while b"\n" not in self._buffer:
            if select.select([0], [], [], POLL_S)[0]:
                block = os.read(0, 1 << 16)
                if not block:
                    return {}
                self._buffer += block
            elif os.getppid() != self._parent or over():
                return {}
        line, _, self._buffer = self._buffer.partition(b"\n")
        order: dict[str, Any] = json.loads(line)
        return order


def start(argv: list[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start the server in its own process group, named by its process id.

    The caller must hold on to the object: one that is dropped reaps an ended process behind our back.
    """

    def die_with_the_keeper() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    # This process has one thread, so a function between fork and exec is safe.
    return subprocess.Popen(
        argv, env=env, stdin=subprocess.DEVNULL, stdout=2, process_group=0, preexec_fn=die_with_the_keeper
    )


def has_ended(server: int) -> bool:
    """Tell whether the server has ended. It stays unreaped, so its group's number cannot be given away."""
    return os.waitid(os.P_PID, server, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def end(server: int, grace_s: float) -> int:
    """End the server's whole group: ask, wait at most `grace_s`, kill, reap.

    Returns:
        The server's exit status, negative for a signal.
    """
    if grace_s > 0 and not has_ended(server):
        os.kill(server, signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while time.monotonic() < deadline and not has_ended(server):
            time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server, signal.SIGKILL)
    status = 0
    deadline = time.monotonic() + REAP_S
    # The stubs are the server's children; as a subreaper this process inherits them.
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            pid, code = os.waitpid(-1, os.WNOHANG)
            if pid == server:
                status = os.waitstatus_to_exitcode(code)
            elif pid == 0:
                time.sleep(0.005)
    return status


def keep(argv: list[str], env: dict[str, str], orders: Orders) -> int:
    """Run the server until it is ordered to stop, it ends, or the parent is gone.

    Returns:
        0 when it was stopped, otherwise its exit status, 128 + number for a signal.
    """
    before = scratch_folders()
    process = start(argv, env)
    server = process.pid
    ours: set[Path] = set()

    def over() -> bool:
        if not ours:
            ours.update(scratch_folders() - before)
        return has_ended(server)

    grace_s = 0.0
    try:
        grace_s = float(orders.read(over).get("grace_s", 0))
    finally:
        died = over()
        status = end(server, grace_s)
        for folder in ours:
            with contextlib.suppress(OSError):
                folder.rmdir()
    if not died:
        return 0
    return 128 - status if status < 0 else status


def scratch_folders() -> set[Path]:
    """Return the empty folders that python backends make for packed environments, whatever TMPDIR says.

    Only an orderly exit removes them, and nothing but the moment tells whose they are: those that appear
    right after the server's start are taken for its own. Removing an empty one harms nobody.
    """
    return set(SCRATCH.glob("python_env_??????"))


def clean(workdir: Path, prefix: str) -> None:
    """Remove the working folder and the shared memory regions whose names start with `prefix`."""
    for region in SHARED_MEMORY.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)
    shutil.rmtree(workdir, ignore_errors=True)


def main(argv: list[str]) -> int:
    """Keep one server.

    Args:
        argv: Working folder, prefix of the shared memory regions' names, the parent's process id.

    Returns:
        What `keep` returns.
    """
    workdir, prefix, parent = Path(argv[0]), argv[1], int(argv[2])
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # A service manager signals every process at once; the parent decides. A handler, not SIG_IGN: the
        # server would inherit that.
        signal.signal(number, lambda *_: None)
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    orders = Orders(parent)
    try:
        first = orders.read()
        return keep(first["argv"], first["env"], orders) if "argv" in first else 0
    finally:
        clean(workdir, prefix)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
