"""Healing: how long phones wait when a part of the edge is killed, and that none of them loses a frame."""

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

VICTIMS: Final = {"stub": "triton_python", "server": "tritonserver"}  # → the start of the process's name
PATIENCE_S: Final = 60.0
SIDE: Final = 64


class RecoveryError(MVStylizerError):
    """The edge does not look as it should: there is nothing to kill."""


def recovery_seconds(bundle: Path, repeats: int, progress: Progress) -> dict[str, Spread]:
    """Kill Triton's python stub, and Triton itself, while a phone sample; time its next answer.

    Args:
        bundle: What is served, by ``mvstylizer serve``.
        repeats: Kills of each.
        progress: Takes progress.

    Returns:
        Victim (``stub``, ``server``) → seconds from the kill until a phone that asked at once, and kept
        asking for the same frame, has it stylized.

    Raises:
        RecoveryError: There is no such process.
        EdgeUnavailableError: The phone's patience of a minute was not enough.
    """
    times: dict[str, list[float]] = {victim: [] for victim in VICTIMS}
    for turn in range(repeats):
        for victim in VICTIMS:
            times[victim].append(_heal_once(bundle, victim))
            progress(f"healing: {victim} {turn + 1} of {repeats} in {times[victim][-1]:.1f} s")
    return {victim: spread(values) for victim, values in times.items()}


def _heal_once(bundle: Path, victim: str) -> float:
    """Kill one part of an edge of its own: one that was killed before would wait, and soon give up."""
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
        raise RecoveryError(f"The edge runs no {name}", "Look at its log by hand")
    for victim in victims:
        victim.kill()
    psutil.wait_procs(victims, timeout=10)
