"""Soak: an edge under mixed load and model swaps for a long time.

Each swap publishes the same model under the next version in the folder that the edge watches. Some requests
are intentionally invalid; no other request may fail. Memory at the end is compared with memory after the
first minute. Rollback and recovery of killed processes are then measured on separate edges.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.data.models import shipped
from benchmarks.edge_load import routes
from benchmarks.edge_load.health import free_address, restart_count, wait_until_served
from benchmarks.edge_load.recovery import recovery_seconds
from benchmarks.edge_load.rollback import rollback_seconds
from benchmarks.edge_load.soak_load import KINDS, RESOLUTION, load
from benchmarks.edge_load.version_folder import VersionFolder
from benchmarks.harness.registry import Budget, Progress, Table
from benchmarks.harness.result import Figure, Result, Row
from benchmarks.harness.tables import number, span
from benchmarks.harness.timing import spread
from benchmarks.metrics.memory_usage import memory_mib

Rows = dict[str, list[Mapping[str, Any]]]

SETTLE_S: Final = 5.0
FIGURES: Final = {
    "answers": Figure("requests", "requests with the expected reply, including the refusal of invalid ones"),
    "failures": Figure("requests", "requests that failed", "lower"),
    "seconds": Figure("s", "latency of a request: median, minimum and maximum", "lower", 0.25),
    "swap_seconds": Figure("s", "from publishing a bundle until phones get it", "lower", 0.25),
    "rollback_seconds": Figure(
        "s", "from the call until the previous version has stylized a 64×64 frame", "lower", 0.5
    ),
    "heal_seconds": Figure("s", "from the kill until a retrying phone has its 64×64 frame", "lower", 0.25),
    "restarts": Figure("restarts", "Triton restarts by the supervisor", "lower"),
    "memory_mib": Figure("MiB", "proportional set size of the edge (gateway, Triton, stubs)", "lower", 0.10),
    "of_first_minute": Figure("ratio", "memory_mib / memory_mib after the first minute", "lower", 0.05),
}


def run(
    budget: Budget,
    progress: Progress,
    *,
    bundle: Path | None = None,
    minutes: float | None = None,
    swaps: int | None = None,
) -> Result:
    """Measure.

    Args:
        budget: Time budget.
        progress: Receives lines of progress.
        bundle: Model bundle; defaults to the bundled model.
        minutes: Duration of the load; defaults to 30, or 0.5 if quick.
        swaps: Number of model swaps; defaults to 50, or 2 if quick.

    Raises:
        StaleEdgeError: A published version is not served in time.
        MVStylizerError: The bundle cannot be loaded, or the edge does not start.
    """
    model = shipped([bundle] if bundle else [])[0]
    seconds = 60 * (budget.pick(30.0, 0.5) if minutes is None else minutes)
    count = budget.pick(50, 2) if swaps is None else swaps
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mvstylizer-soak-"))
        versions = VersionFolder(model, Path(folder))
        health = free_address()
        address, tokens, pid = stack.enter_context(
            routes.serving(model.path, len(KINDS), "--watch", str(versions.folder), "--health", health)
        )
        edge = psutil.Process(pid)
        swap(versions, health)
        with load(address, tokens) as tallies:
            early = min(60.0, seconds / 3)
            time.sleep(early / 2)
            swap(versions, health)  # from now on, two used versions are loaded
            time.sleep(early / 2)
            first = memory_mib(edge)
            times = _swaps(versions, health, count, seconds - early, progress)
        time.sleep(SETTLE_S)
        after, restarts = memory_mib(edge), restart_count(health)
    progress("soak: rollback")
    back = rollback_seconds(model, budget.pick(50, 4))
    healed = recovery_seconds(model.path, budget.pick(10, 1), progress)
    rows = [
        Row(
            {"requests": kind},
            {
                "answers": float(len(tally.latencies)),
                "failures": float(tally.failures.total()),
                "seconds": spread(tally.latencies),
            },
        )
        for kind, tally in tallies.items()
    ]
    rows += [
        Row(
            {"swaps": count}, {"swap_seconds": spread(times), "restarts": restarts, "rollback_seconds": back}
        ),
        *(Row({"killed": victim}, {"heal_seconds": seconds}) for victim, seconds in healed.items()),
        Row({"memory": "after the first minute"}, {"memory_mib": first}),
        Row({"memory": "after"}, {"memory_mib": after, "of_first_minute": after / first}),
    ]
    failures = [f"{kind}: {what}" for kind, tally in tallies.items() for what in tally.failures]
    settings = {"minutes": seconds / 60, "swaps": count, "resolution": RESOLUTION, "first_minute_s": early}
    return Result("soak", FIGURES, rows, settings, failures)


def swap(versions: VersionFolder, health: str) -> float:
    """Publish the next version and return the seconds until it is served.

    Raises:
        StaleEdgeError: The version is not served in time.
    """
    version = versions.publish().version
    began = time.perf_counter()
    wait_until_served(version, health)
    return time.perf_counter() - began


def _swaps(
    versions: VersionFolder, health: str, count: int, seconds: float, progress: Progress
) -> list[float]:
    """Swap models evenly over a duration and return the seconds of each swap."""
    began, times = time.perf_counter(), []
    for done in range(count):
        time.sleep(max(0.0, began + seconds * done / count - time.perf_counter()))
        times.append(swap(versions, health))
        progress(f"soak: swap {done + 1} of {count} in {times[-1]:.1f} s")
    time.sleep(max(0.0, began + seconds - time.perf_counter()))
    return times


def tables(document: Mapping[str, Any]) -> list[Table]:
    """Return tables of requests, swaps, recovery and memory."""
    rows: Rows = {"requests": [], "swaps": [], "killed": [], "memory": []}
    for row in document["results"]:
        rows[next(iter(row["case"]))].append(row)
    minutes = document["settings"]["minutes"]
    memory_columns = ["when", "MiB", "/ first minute"]
    return [
        Table(
            f"Requests of {minutes:g} minutes", ["kind", "replies", "failures", "seconds"], _requests(rows)
        ),
        Table("Swaps", ["swaps", "seconds", "restarts", "rollback, s"], _swap_cells(rows)),
        Table(
            "Recovery",
            ["killed", "seconds until the next reply"],
            [[row["case"]["killed"], span(row["figures"]["heal_seconds"])] for row in rows["killed"]],
        ),
        Table("Memory of the edge", memory_columns, _memory(rows)),
    ]


def _requests(rows: Rows) -> list[list[str]]:
    cells = []
    for row in rows["requests"]:
        figures = row["figures"]
        counts = [number(figures["answers"]), number(figures["failures"])]
        cells.append([row["case"]["requests"], *counts, span(figures["seconds"])])
    return cells


def _swap_cells(rows: Rows) -> list[list[str]]:
    cells = []
    for row in rows["swaps"]:
        figures = row["figures"]
        times = span(figures["swap_seconds"]), number(figures["restarts"]), span(figures["rollback_seconds"])
        cells.append([str(row["case"]["swaps"]), *times])
    return cells


def _memory(rows: Rows) -> list[list[str]]:
    cells = []
    for row in rows["memory"]:
        figures = row["figures"]
        values = number(figures["memory_mib"]), number(figures.get("of_first_minute"))
        cells.append([row["case"]["memory"], *values])
    return cells
