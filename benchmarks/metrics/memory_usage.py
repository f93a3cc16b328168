"""The memory of a program and of all that it started."""

from __future__ import annotations

from contextlib import suppress

import psutil


def memory_mib(program: psutil.Process) -> float:
    """Return the proportional set size of a program and its descendants, in MiB; what they share counts once.

    A descendant that ends while it is looked at (a stub of a version that is let go) has no memory any more.

    Raises:
        psutil.NoSuchProcess: The program itself has ended.
    """
    total = program.memory_full_info().pss
    for process in program.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return float(total) / 2**20
