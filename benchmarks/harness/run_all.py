"""Every bench in turn, each in a process of its own: none inherits the memory or the faults of another."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.harness.registry import Bench, Progress

ENDING_SECONDS: Final = 30.0  # a bench that is told to end may have servers to stop


class Outcome(NamedTuple):
    """How a bench went: its name, where its result is, its exit code, and the seconds it took."""

    bench: str
    out: str
    exit_code: int
    seconds: float


def run_every(
    benches: Sequence[Bench], folder: Path, *, quick: bool, threads: int, progress: Progress
) -> list[Outcome]:
    """Run benches one after the other; one that fails does not keep the next from running.

    Args:
        benches: Which.
        folder: Where each writes ``NAME.json``.
        quick: Reduced settings.
        threads: Cores to hold each to.
        progress: Takes a line before each.
    """
    outcomes = []
    for number, bench in enumerate(benches, 1):
        progress(f"[{number}/{len(benches)}] {bench.name}: {bench.about}")
        out = folder / f"{bench.name}.json"
        command = [sys.executable, "-m", "mvstylizer_cli", "bench", bench.name, "--out", str(out)]
        command += ["--threads", str(threads), *(["--quick"] if quick else [])]
        began = time.perf_counter()
        exit_code = _run(command)
        outcomes.append(Outcome(bench.name, str(out), exit_code, round(time.perf_counter() - began, 1)))
    return outcomes


def _run(command: Sequence[str]) -> int:
    """Run a command with its output on our stderr; whatever ends us ends it first, in order."""
    process = subprocess.Popen(command, stdout=sys.stderr)
    try:
        return process.wait()
    except BaseException:
        process.terminate()
        try:
            process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise
