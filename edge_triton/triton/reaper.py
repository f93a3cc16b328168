"""The reaper: a small process that runs the server, outlives the parent, and cleans up.

Python cannot clean up after ``kill -9`` of itself, and a killed Triton leaves stub processes and shared
memory. So the server is a child of this script, not of the program that uses it. The reaper has its own
session, so Ctrl-C in the terminal does not reach the server. It reads orders from standard input, one JSON
object per line: first ``{"argv": [...], "env": {...}}``, then ``{"grace_s": 1.5}`` to stop. When the pipe
closes, the parent dies or the server ends, it kills the server's process group, waits until all of its
processes are gone, and removes the shared memory and the working folder.

Run by path with ``python -I -S``; standard library only, no import of the kit.
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
ALIVE = "alive"  # pipe in the working folder that this process holds open, see python_backend/model.py
POLL_S = 0.1
REAP_S = 10.0

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None)


class Orders:
    """The parent's orders: one JSON object per line on standard input.

    Args:
        parent: The parent's process id. A process that it forked may hold the pipe open after its death, so
            the end of the pipe is not a sufficient sign.
    """

    def __init__(self, parent: int) -> None:
        self._parent = parent
        self._buffer = b""

    def read(self, over: Callable[[], bool] = lambda: False) -> dict[str, Any]:
        """Return the next order, or an empty one when the parent has died or `over` returns true."""
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

    Keep a reference to the result: its destructor would reap an ended process.
    """

    def die_with_the_reaper() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    # This process has one thread, so a function between fork and exec is safe.
    return subprocess.Popen(
        argv, env=env, stdin=subprocess.DEVNULL, stdout=2, process_group=0, preexec_fn=die_with_the_reaper
    )


def has_ended(server: int) -> bool:
    """Return whether the server has ended; it stays unreaped, so that its group number is not reused."""
    return os.waitid(os.P_PID, server, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def end(server: int, grace_s: float) -> int:
    """End the server's process group: terminate, wait for `grace_s` seconds at most, kill, reap.

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
    # This process is a subreaper, so it inherits the stubs, which are the server's children.
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            pid, code = os.waitpid(-1, os.WNOHANG)
            if pid == server:
                status = os.waitstatus_to_exitcode(code)
            elif pid == 0:
                time.sleep(0.005)
    return status


def run(argv: list[str], env: dict[str, str], orders: Orders) -> int:
    """Run the server until an order to stop, its end, or the death of the parent.

    Returns:
        0 if it was stopped, otherwise its exit status, 128 + number for a signal.
    """
    before = scratch_folders()
    process = start(argv, env)
    server = process.pid
    own: set[Path] = set()

    def over() -> bool:
        if not own:
            own.update(scratch_folders() - before)
        return has_ended(server)

    grace_s = 0.0
    try:
        grace_s = float(orders.read(over).get("grace_s", 0))
    finally:
        died = over()
        status = end(server, grace_s)
        for folder in own:
            with contextlib.suppress(OSError):
                folder.rmdir()
    if not died:
        return 0
    return 128 - status if status < 0 else status


def hold_pipe(path: Path) -> None:
    """Create a pipe and hold it open until this process ends, however it ends."""
    with contextlib.suppress(OSError):  # without it, a stub may outlive a reaper that is killed
        os.mkfifo(path, 0o600)
        os.open(path, os.O_RDWR)


def scratch_folders() -> set[Path]:
    """Return the empty folders that python backends create for packed environments, regardless of TMPDIR.

    Only an orderly exit removes them, and they do not name their owner: those that appear right after the
    server's start are treated as its own. Removing an empty one is harmless.
    """
    return set(SCRATCH.glob("python_env_??????"))


def clean(workdir: Path, prefix: str) -> None:
    """Remove the working folder and the shared memory regions whose names start with `prefix`."""
    remove_regions(prefix)
    shutil.rmtree(workdir, ignore_errors=True)


def remove_regions(prefix: str) -> None:
    """Remove the shared memory regions whose names start with `prefix`."""
    for region in SHARED_MEMORY.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)


def main(argv: list[str]) -> int:
    """Run one server and clean up after it.

    Args:
        argv: Working folder, prefix of shared memory names, the parent's process id.

    Returns:
        What `run` returns.
    """
    workdir, prefix, parent = Path(argv[0]), argv[1], int(argv[2])
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # A service manager signals every process at once; the parent decides. A handler, because the server
        # would inherit SIG_IGN.
        signal.signal(number, lambda *_: None)
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    orders = Orders(parent)
    hold_pipe(workdir / ALIVE)
    try:
        first = orders.read()
        return run(first["argv"], first["env"], orders) if "argv" in first else 0
    finally:
        clean(workdir, prefix)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
