"""Triton's processes, read from /proc: Triton 2.51 neither notices nor reports that a stub has died."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import Counter, defaultdict
from pathlib import Path

from edge_triton.triton.environment import STUB

PROC = Path("/proc")
KILL_TIMEOUT_S = 5.0


def count_stubs(reaper: int) -> Counter[tuple[str, int]]:
    """Count the running stubs of the server under a reaper.

    Args:
        reaper: The reaper's process id; the server is its child, the stubs are the server's children.

    Returns:
        Number of stubs by (model, version).
    """
    children = _children()
    found: Counter[tuple[str, int]] = Counter()
    for server in children[reaper]:
        for stub in children[server]:
            model_py = _model_py(stub)
            if model_py is not None:
                found[model_py.parents[1].name, int(model_py.parent.name)] += 1
    return found


def kill_named(text: str) -> None:
    """Kill this user's other processes that have a text in their command line, and wait until they are gone.

    Args:
        text: Long and random enough to be in no other command line.
    """
    end = time.monotonic() + KILL_TIMEOUT_S
    while found := _named(text):
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() >= end:
            return
        time.sleep(0.02)


def _named(text: str) -> list[int]:
    """Return the processes with a text in their command line; a zombie has none."""
    found = []
    for folder in PROC.iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid() and text in _read(folder / "cmdline"):
            with contextlib.suppress(OSError):
                if folder.stat().st_uid == os.geteuid():
                    found.append(int(folder.name))
    return found


def _children() -> defaultdict[int, list[int]]:
    """Return the children of every process; not every kernel lists them in /proc."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for folder in PROC.iterdir():
        if folder.name.isdecimal():
            # The name in parentheses may contain anything; state and parent follow it.
            fields = _read(folder / "stat").rpartition(")")[2].split()
            if fields:
                children[int(fields[1])].append(int(folder.name))
    return children


def _model_py(pid: int) -> Path | None:
    """Return the model.py that a stub runs; None for another process or a zombie, which has no arguments."""
    arguments = _read(PROC / str(pid) / "cmdline").split("\0")
    if Path(arguments[0]).name != STUB:
        return None
    return Path(arguments[1])


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # it has just ended
        return ""
