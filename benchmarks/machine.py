"""The machine that runs a benchmark: pin the process to cores, and describe the machine in the result."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGES: Final = (
    "mvstylizer",
    "numpy",
    "opencv-python-headless",
    "av",
    "onnxruntime",
    "ai-edge-litert",
    "torch",
    "tritonclient",
    "flwr",
)
THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def pin(threads: int) -> int:
    """Pin this process and its children to a number of cores; call before importing NumPy.

    Args:
        threads: Requested number of cores, at least 1.

    Returns:
        Actual number of cores, limited to those available.
    """
    cores = sorted(os.sched_getaffinity(0))[:threads]
    os.sched_setaffinity(0, cores)
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(len(cores))
    return len(cores)


class Watch:
    """Records the machine's load and speed during a benchmark.

    Args:
        threads: Number of cores the benchmark is pinned to.
        quick: The benchmark uses reduced settings.
    """

    def __init__(self, threads: int, *, quick: bool) -> None:
        self._threads, self._quick = threads, quick
        self._load = os.getloadavg()[0]
        self._speeds = [gmacs_per_second()]
        self._began = time.perf_counter()

    def look(self) -> None:
        """Measure the speed between two parts of a benchmark; skipped while other threads are working."""
        if all(thread.daemon or thread is threading.current_thread() for thread in threading.enumerate()):
            self._speeds.append(gmacs_per_second())

    def metadata(self) -> dict[str, Any]:
        """Return the ``metadata`` of a result."""
        seconds = time.perf_counter() - self._began
        commit, changed = _commit()
        speeds = [round(speed, 1) for speed in (*self._speeds, gmacs_per_second())]
        return {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit,
            "changed": changed,
            "quick": self._quick,
            "threads": self._threads,
            "seconds": round(seconds, 1),
            "machine": {
                "cpu": _cpu(),
                "cores": os.cpu_count() or 1,
                "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
                "system": f"{platform.system()} {platform.machine()}",
                "gpu": _gpu(),
                "load": [round(self._load, 2), round(os.getloadavg()[0], 2)],
                "gmacs_per_second": [speeds[0], speeds[-1]],
                "gmacs_range": [min(speeds), max(speeds)],
            },
            "versions": _versions(),
        }


def gmacs_per_second(side: int = 1024, runs: int = 5) -> float:
    """Return the best speed of a float32 matrix product, in billions of multiply-adds per second.

    This is the best speed of the cores, so multiply-adds divided by it are a lower bound for a network.
    """
    import numpy as np

    left = np.random.default_rng(0).random((side, side), np.float32)
    out = np.empty_like(left)
    best = float("inf")
    for _ in range(runs):
        began = time.perf_counter()
        np.matmul(left, left, out=out)
        best = min(best, time.perf_counter() - began)
    return side**3 / best / 1e9


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _cpu() -> str:
    fields: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        field, _, value = line.partition(":")
        fields.setdefault(field.strip(), value.strip())
    name = fields.get("model name", platform.machine())
    if "model" in fields and "cpu family" in fields:
        name += f" (family {fields['cpu family']}, model {fields['model']})"
    return name


def _gpu() -> str | None:
    names = _output(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"])
    return "; ".join(names.splitlines()) if names else None


def _commit() -> tuple[str | None, bool]:
    git = ["git", "-C", str(ROOT)]
    commit = _output([*git, "rev-parse", "HEAD"])
    # New results do not change the measured code.
    changes = _output(
        [*git, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results"]
    )
    return commit or None, bool(changes)


def _output(command: Sequence[str]) -> str:
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
