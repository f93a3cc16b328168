"""Recovery: how long a phone waits for its reply after a part of the edge was killed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import psutil

from benchmarks.data import footage
from benchmarks.edge_load import routes
from benchmarks.harness.registry import Progress
from benchmarks.harness.result import Spread
from benchmarks.harness.timing import spread
from edge_triton.client.client import EdgeClient
from mvstylizer.errors import MVStylizerError

VICTIMS: Final = {"stub": "triton_python", "server": "tritonserver"}  # prefix of the process name
PATIENCE_S: Final = 60.0
SIDE: Final = 64


class RecoveryError(MVStylizerError):
    """The edge does not run the process to kill."""


def recovery_seconds(bundle: Path, repeats: int, progress: Progress) -> dict[str, Spread]:
    """Kill Triton's Python stub or Triton itself, and time the next reply to a phone.

    Args:
        bundle: Model served by ``mvstylizer serve``.
        repeats: Number of kills of each.
        progress: Receives a line per kill.

    Returns:
        By victim (``stub``, ``server``): seconds from the kill until a frame is stylized that a phone
        requested immediately and kept retrying.

    Raises:
        RecoveryError: The process to kill is not running.
        EdgeUnavailableError: There is no reply within a minute.
    """
    times: dict[str, list[float]] = {victim: [] for victim in VICTIMS}
    for number in range(repeats):
        for victim in VICTIMS:
            times[victim].append(_recover_once(bundle, victim))
            progress(f"recovery: {victim} {number + 1} of {repeats} in {times[victim][-1]:.1f} s")
    return {victim: spread(values) for victim, values in times.items()}


def _recover_once(bundle: Path, victim: str) -> float:
    """Kill a part of a fresh edge: a supervisor backs off after repeated failures."""
    with (
        routes.serving(bundle, 1) as (address, (token,), pid),
        EdgeClient(address, timeout_s=PATIENCE_S, patience_s=PATIENCE_S, token=token) as phone,
    ):
        frame, code = footage.photo(SIDE, SIDE), phone.encode_style(footage.style())
        _kill(psutil.Process(pid), VICTIMS[victim])
        began = time.perf_counter()
        phone.stylize(frame, code)
        return time.perf_counter() - began


def _kill(edge: psutil.Process, name: str) -> None:
    victims = [each for each in edge.children(recursive=True) if each.name().startswith(name)]
    if not victims:
        raise RecoveryError(f"The edge does not run {name}", "Check its log")
    for victim in victims:
        victim.kill()
    psutil.wait_procs(victims, timeout=10)
