"""Run every benchmark in its own process, so that none inherits memory or failures from another."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.harness.registry import Bench, Progress

TERMINATE_TIMEOUT_S: Final = 30.0  # a benchmark may have servers to stop


class Outcome(NamedTuple):
    """Outcome of a benchmark: name, result file, exit code and duration in seconds."""

    bench: str
    out: str
    exit_code: int
    seconds: float


def run_every(
    benches: Sequence[Bench], folder: Path, *, quick: bool, threads: int, progress: Progress
) -> list[Outcome]:
    """Run benchmarks in turn; a failure does not stop the others.

    Args:
        benches: Benchmarks to run.
        folder: Output folder for ``NAME.json``.
        quick: Use reduced settings.
        threads: Number of cores for each benchmark.
        progress: Receives a line before each benchmark.
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
    """Run a command with its output on our stderr; terminate it if we are interrupted."""
    process = subprocess.Popen(command, stdout=sys.stderr)
    try:
        return process.wait()
    except BaseException:
        process.terminate()
        try:
            process.wait(TERMINATE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise
