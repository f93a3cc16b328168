"""CPU time of a server's processes, read from /proc: a hung server uses none, a busy one does."""

from __future__ import annotations

import os
from pathlib import Path

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PARENT, _USER, _SYSTEM = 1, 11, 12  # fields after the name in parentheses


def cpu_seconds(root: int) -> float:
    """Return the CPU time that all descendants of a process have used so far, in seconds.

    Args:
        root: Process id; its own time does not count.
    """
    rows = {int(folder.name): _fields(folder) for folder in _PROC.iterdir() if folder.name.isdecimal()}
    family, ticks = {root}, 0
    while found := {pid for pid, row in rows.items() if row and int(row[_PARENT]) in family} - family:
        family |= found
        ticks += sum(int(rows[pid][_USER]) + int(rows[pid][_SYSTEM]) for pid in found)
    return ticks / _TICKS_PER_S


def _fields(folder: Path) -> list[str]:
    try:
        return (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:  # it has just ended
        return []
