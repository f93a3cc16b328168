"""Memory usage of a process tree."""

from __future__ import annotations

from contextlib import suppress

import psutil


def memory_mib(program: psutil.Process) -> float:
    """Return the proportional set size of a program and its descendants, in MiB; shared pages count once.

    A descendant that exits meanwhile (such as a stub of an unloaded version) counts as zero.

    Raises:
        psutil.NoSuchProcess: The program itself has exited.
    """
    total = program.memory_full_info().pss
    for process in program.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return float(total) / 2**20
