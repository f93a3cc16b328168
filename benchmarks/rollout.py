"""Rollout: from the updates of ten edges to the model that phones get.

Covers the cloud's work from the last update to the release (average, export with parity checks, signature),
and the edge's work from the release to its promotion (verify, load, test, promote).
"""

from __future__ import annotations

import tempfile
import time
import tracemalloc
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.data.models import shipped
from benchmarks.edge_load import routes
from benchmarks.edge_load.health import free_address, wait_until_served
from benchmarks.harness.registry import Budget, Progress, Table
from benchmarks.harness.result import Figure, Result, Row, Value, find
from benchmarks.harness.tables import number, span
from benchmarks.harness.timing import Work, measure, spread
from benchmarks.machine import ROOT
from export.onnx_models.weight_swap import BaseBundle
from fl.average import Averaging, Mode, merge
from fl.parameters import Parameters, map_parameters, write_parameters
from fl.release import publish
from fl.signing import make_keys
from mvstylizer.bundle import Bundle

EDGES: Final = 10
MODES: Final[tuple[Mode, ...]] = ("frames", "trimmed")
SPREAD: Final = 1e-3  # standard deviation of the edges' updates
FIGURES: Final = {
    "average_seconds": Figure("s", "averaging the updates of ten edges, memory-mapped", "lower", 0.25),
    "memory_of_model": Figure(
        "ratio", "peak memory while averaging, including the result / size of a model", "lower", 0.02
    ),
    "export_seconds": Figure("s", "export with parity checks and signature", "lower", 0.25),
    "served_seconds": Figure("s", "from the merged checkpoint until phones get the model", "lower", 0.25),
}


def run(budget: Budget, progress: Progress) -> Result:
    """Measure with the bundled model and its checkpoint.

    Args:
        budget: Time budget.
        progress: Receives lines of progress.

    Raises:
        MVStylizerError: The export fails, or the edge does not start or accept a release.
    """
    model = shipped()[0]
    checkpoint = ROOT / "models" / f"{model.name}.safetensors"
    with tempfile.TemporaryDirectory(prefix="mvstylizer-rollout-") as name:
        folder = Path(name)
        progress(f"rollout: averaging {EDGES} edges")
        rows = _averaging(checkpoint, folder, budget.pick(9, 1))
        exports, served = _releases(model, checkpoint, folder, budget.pick(3, 1), progress)
    first, *later = exports
    rows.append(
        Row({"release": "first of a process"}, {"export_seconds": first, "served_seconds": served[0]})
    )
    if later:
        seconds: dict[str, Value] = {"export_seconds": spread(later), "served_seconds": spread(served[1:])}
        rows.append(Row({"release": "later"}, seconds))
    return Result("rollout", FIGURES, rows, {"edges": EDGES, "model": model.name})


def _averaging(checkpoint: Path, folder: Path, repeats: int) -> list[Row]:
    base, header = map_parameters(checkpoint)
    updates = [_update(base, header, folder / f"edge{edge}.safetensors", edge) for edge in range(EDGES)]
    weights = [float(100 + edge) for edge in range(EDGES)]
    size = sum(value.nbytes for value in base.values())
    cases: dict[str, Work] = {mode: partial(merge, base, updates, weights, Averaging(mode)) for mode in MODES}
    seconds = measure(cases, repeats=repeats)
    return [
        Row({"average": mode}, {"average_seconds": seconds[mode], "memory_of_model": _peak(case) / size})
        for mode, case in cases.items()
    ]


def _update(base: Parameters, header: Mapping[str, str], path: Path, seed: int) -> Parameters:
    """Write a random update of an edge and memory-map it as the cloud does."""
    draw = np.random.default_rng(seed)
    moved = {
        name: value + SPREAD * draw.standard_normal(value.shape, np.float32) for name, value in base.items()
    }
    write_parameters(path, moved, header)
    return map_parameters(path)[0]


def _peak(case: Work) -> float:
    """Return the peak memory of a call in bytes, without memory-mapped files."""
    tracemalloc.start()
    try:
        case()
        return float(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


def _releases(
    model: Bundle, checkpoint: Path, folder: Path, count: int, progress: Progress
) -> tuple[list[float], list[float]]:
    """Publish releases to an edge that watches the registry; return seconds to export and until served."""
    registry, private, public = folder / "registry", folder / "release.key", folder / "release.pub"
    registry.mkdir()
    make_keys(private, public)
    health = free_address()
    watching = ("--watch", str(registry), "--release-key", str(public), "--health", health)
    exports, served = [], []
    with routes.serving(model.path, 1, *watching):
        for number_ in range(1, count + 1):
            began = time.perf_counter()
            release = publish(
                checkpoint,
                registry,
                private,
                server_round=number_,
                metrics={},
                after=model.version,
                base_bundle=BaseBundle(model, checkpoint),
            )
            exports.append(time.perf_counter() - began)
            wait_until_served(release.version, health)
            served.append(time.perf_counter() - began)
            progress(f"rollout: release {number_} of {count} served after {served[-1]:.1f} s")
    return exports, served


def tables(document: Mapping[str, Any]) -> list[Table]:
    """Return a table of averaging, and one of releases."""
    averages = _rows(
        document,
        "average",
        MODES,
        lambda row: [span(row["average_seconds"]), number(row["memory_of_model"])],
    )
    releases = _rows(
        document,
        "release",
        ("first of a process", "later"),
        lambda row: [span(row["export_seconds"]), span(row["served_seconds"])],
    )
    title = "From the merged checkpoint until phones get the model"
    return [
        Table(
            f"Averaging {document['settings']['edges']} edges",
            ["mode", "seconds", "memory / model size"],
            averages,
        ),
        Table(title, ["release", "export, s", "served after, s"], releases),
    ]


def _rows(document: Mapping[str, Any], key: str, values: Sequence[str], cells: Any) -> list[list[str]]:
    found = {value: find(document, **{key: value}) for value in values}
    return [[value, *cells(row)] for value, row in found.items() if row is not None]
