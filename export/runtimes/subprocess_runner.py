"""Lanes that run in a subprocess, so that a crashing driver ends only that process.

A worker is a module run as ``python -m MODULE FILE INPUTS.npz OUTPUTS.npz``. Inputs are named
``CASE/TENSOR``, outputs ``CASE/NUMBER``. Exit code 3 means that the runtime accepts only part of the graph.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from export.runtimes.cpu import LaneError
from export.runtimes.difference import Array, Case

NOT_WHOLE = 3
_TIMEOUT_S = 300


def run_worker(
    module: str, lane: str, content: bytes, cases: Sequence[Case], environment: Mapping[str, str]
) -> list[list[Array]]:
    """Run a model file on all cases and return the outputs of each, in order.

    Args:
        module: The worker.
        lane: Name of the lane, for error messages.
        content: The model file.
        cases: What to run.
        environment: Environment variables of the process.

    Raises:
        LaneError: The runtime rejects the file or part of it, or its driver fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        file, source, target = (str(Path(folder) / name) for name in ("model", "in.npz", "out.npz"))
        Path(file).write_bytes(content)
        tensors: dict[str, Any] = {
            f"{i}/{name}": v for i, case in enumerate(cases) for name, v in case.inputs.items()
        }
        np.savez(source, **tensors)
        command = [sys.executable, "-m", module, file, source, target]
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as err:
            raise LaneError(f"The {lane} did not finish within {_TIMEOUT_S} s") from err
        if done.returncode == NOT_WHOLE:
            raise LaneError(f"The {lane} accepts only part of the graph")
        if done.returncode:
            raise LaneError(f"The {lane} failed: {last_error(done.stderr)}")
        found = read_cases(target)
        return [[found[case][i] for i in sorted(found[case], key=int)] for case in sorted(found, key=int)]


def read_cases(path: str) -> dict[str, dict[str, Array]]:
    """Return a worker's arrays by case and tensor."""
    cases: dict[str, dict[str, Array]] = defaultdict(dict)
    with np.load(path) as stored:
        for key in stored.files:
            case, _, tensor = key.partition("/")
            cases[case][tensor] = stored[key]
    return cases


def write_outputs(path: str, outputs: Mapping[str, Sequence[Array]]) -> None:
    """Write a worker's outputs, by case, in the order of the graph."""
    rows: dict[str, Any] = {
        f"{case}/{i}": value for case, values in outputs.items() for i, value in enumerate(values)
    }
    np.savez(path, **rows)


def last_error(log: str) -> str:
    """Return the last line of a program's output that names an error, else its last line."""
    errors = [line for line in log.splitlines() if "ERROR" in line or "Error" in line]
    return (errors or log.splitlines() or ["no message"])[-1].strip()
