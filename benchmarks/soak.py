"""Soak: an edge under mixed load and model swaps for a long time.

Each swap publishes the same model under the next version in the folder that the edge watches. Some requests
are intentionally invalid; no other request may fail. Memory at the end is compared with memory after the
first minute. Rollback and recovery of killed processes are then measured on separate edges.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.data.models import shipped
from benchmarks.edge_load import routes
from benchmarks.edge_load.attacker import attacking
from benchmarks.edge_load.health import free_address, restart_count, wait_until_served
from benchmarks.edge_load.recovery import recovery_seconds
from benchmarks.edge_load.rollback import rollback_seconds
from benchmarks.edge_load.soak_load import KINDS, RESOLUTION, Tally, load
from benchmarks.edge_load.version_folder import VersionFolder
from benchmarks.harness.registry import Budget, Progress, Table
from benchmarks.harness.result import Figure, Result, Row, Value
from benchmarks.harness.tables import number, span
from benchmarks.harness.timing import spread
from benchmarks.metrics.memory_usage import memory_mib
from mvstylizer.bundle import Bundle

Rows = dict[str, list[Mapping[str, Any]]]

SETTLE_S: Final = 5.0
PATIENCE_S: Final = 6.0  # a phone's own default
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
    attack: bool = False,
) -> Result:
    """Measure.

    Args:
        budget: Time budget.
        progress: Receives lines of progress.
        bundle: Model bundle; defaults to the bundled model.
        minutes: Duration of the load; defaults to 30, or 0.5 if quick.
        swaps: Number of model swaps; defaults to 50, or 2 if quick.
        attack: Run every attack of `attacks` in turn at the same time. The other clients then retry, as
            phones do.

    Raises:
        StaleEdgeError: A published version is not served in time.
        MVStylizerError: The bundle cannot be loaded, or the edge does not start.
    """
    model = shipped([bundle] if bundle else [])[0]
    seconds = 60 * (budget.pick(30.0, 0.5) if minutes is None else minutes)
    count = budget.pick(50, 2) if swaps is None else swaps
    loaded = _under_load(model, count, seconds, progress, attack=attack)
    progress("soak: rollback")
    rollback = rollback_seconds(model, budget.pick(50, 4))
    recovery = recovery_seconds(model.path, budget.pick(10, 1), progress)
    swapped: dict[str, Value] = {
        "swap_seconds": spread(loaded.swap_seconds),
        "restarts": loaded.restarts,
        "rollback_seconds": rollback,
    }
    rows = [
        *loaded.request_rows(),
        Row({"swaps": count}, swapped),
        *(Row({"killed": victim}, {"heal_seconds": seconds}) for victim, seconds in recovery.items()),
        *loaded.memory_rows(),
    ]
    settings = {
        "minutes": seconds / 60,
        "swaps": count,
        "attack": attack,
        "resolution": RESOLUTION,
        "first_minute_s": _first_minute(seconds),
    }
    return Result("soak", FIGURES, rows, settings, loaded.failures())


@dataclass(frozen=True)
class SoakOutcome:
    """What was measured on the edge under load.

    Attributes:
        tallies: Latencies and failures by kind of request.
        swap_seconds: Seconds of each swap.
        restarts: Triton restarts.
        first_mib: Memory after the first minute, in MiB.
        last_mib: Memory at the end, in MiB.
    """

    tallies: Mapping[str, Tally]
    swap_seconds: Sequence[float]
    restarts: float
    first_mib: float
    last_mib: float

    def request_rows(self) -> list[Row]:
        """Return a row per kind of request."""
        rows = []
        for kind, tally in self.tallies.items():
            figures: dict[str, Value] = {
                "answers": float(len(tally.latencies)),
                "failures": float(tally.failures.total()),
                "seconds": spread(tally.latencies),
            }
            rows.append(Row({"requests": kind}, figures))
        return rows

    def memory_rows(self) -> list[Row]:
        """Return the memory after the first minute and at the end."""
        last: dict[str, Value] = {
            "memory_mib": self.last_mib,
            "of_first_minute": self.last_mib / self.first_mib,
        }
        return [
            Row({"memory": "after the first minute"}, {"memory_mib": self.first_mib}),
            Row({"memory": "after"}, last),
        ]

    def failures(self) -> list[str]:
        """Return one line per kind of failure."""
        return [f"{kind}: {error}" for kind, tally in self.tallies.items() for error in tally.failures]


def _under_load(
    model: Bundle, count: int, seconds: float, progress: Progress, *, attack: bool
) -> SoakOutcome:
    """Run an edge under load and swap models."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mvstylizer-soak-"))
        versions = VersionFolder(model, Path(folder))
        health = free_address()
        address, tokens, pid = stack.enter_context(
            routes.serving(model.path, len(KINDS) + 1, "--watch", str(versions.folder), "--health", health)
        )
        edge = psutil.Process(pid)
        swap(versions, health)
        *phones, attacker = tokens
        if attack:
            code = model.spec("style_encoder").outputs[0].shape[1]
            stack.enter_context(attacking(address, attacker, code))
        with load(address, phones, patience_s=PATIENCE_S if attack else 0.0) as tallies:
            early = _first_minute(seconds)
            time.sleep(early / 2)
            swap(versions, health)  # from now on, two used versions are loaded
            time.sleep(early / 2)
            first = memory_mib(edge)
            times = _swaps(versions, health, count, seconds - early, progress)
        time.sleep(SETTLE_S)
        return SoakOutcome(tallies, times, restart_count(health), first, memory_mib(edge))


def _first_minute(seconds: float) -> float:
    return min(60.0, seconds / 3)


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
