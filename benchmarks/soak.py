"""Soak: an edge under mixed load for a long time, swapping models all the while.

Every swap publishes the same model under the next version number into the folder that the edge watches. Some
requests are bad on purpose. Nothing else may fail, and memory after it all is held against memory after the
first minute. Afterwards, each on an edge of its own: how fast a model is rolled back, and how fast a killed
part is healed.
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

SETTLE_S: Final = 5.0
FIGURES: Final = {
    "answers": Figure("requests", "requests answered as they should be, the refusal of bad ones among them"),
    "failures": Figure("requests", "requests that failed", "lower"),
    "seconds": Figure("s", "latency of one request; p50 with least and most", "lower", 0.25),
    "swap_seconds": Figure("s", "from a bundle's rename into the folder until phones get it", "lower", 0.25),
    "rollback_seconds": Figure(
        "s", "from the call until the version before has answered, a 64×64 frame included", "lower", 0.5
    ),
    "heal_seconds": Figure(
        "s", "from the kill until a phone that keeps asking has its 64×64 frame", "lower", 0.25
    ),
    "restarts": Figure("restarts", "times that the supervisor had to restart Triton", "lower"),
    "memory_mib": Figure("MiB", "proportional set size of the edge: gateway, Triton, stubs", "lower", 0.10),
    "of_first_minute": Figure("ratio", "memory_mib / that after the first minute", "lower", 0.05),
}  # fmt: skip


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
        budget: How long it may take.
        progress: Takes progress.
        bundle: What is served; the shipped default if None.
        minutes: Length of the load; 30, or half a minute when quick.
        swaps: Models published meanwhile; 50, or 2 when quick.

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
            swap(
                versions, health
            )  # from here on two versions are loaded that have both worked, as ever after
            time.sleep(early / 2)
            first = memory_mib(edge)
            times = _swaps(versions, health, count, seconds - early, progress)
        time.sleep(SETTLE_S)
        after, restarts = memory_mib(edge), restart_count(health)
    progress("soak: rollback")
    back = rollback_seconds(model, budget.pick(50, 4))
    healed = recovery_seconds(model.path, budget.pick(10, 1), progress)
    rows = [
        Row({"requests": kind}, {"answers": float(len(tally.latencies)),
                                 "failures": float(tally.failures.total()),
                                 "seconds": spread(tally.latencies)})
        for kind, tally in tallies.items()
    ]  # fmt: skip
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
    """Publish the next version and return the seconds until phones get it.

    Raises:
        StaleEdgeError: They do not get it in time.
    """
    version = versions.publish().version
    began = time.perf_counter()
    wait_until_served(version, health)
    return time.perf_counter() - began


def _swaps(
    versions: VersionFolder, health: str, count: int, seconds: float, progress: Progress
) -> list[float]:
    """Swap so often, evenly over the time, and wait for its end."""
    began, times = time.perf_counter(), []
    for done in range(count):
        time.sleep(max(0.0, began + seconds * done / count - time.perf_counter()))
        times.append(swap(versions, health))
        progress(f"soak: swap {done + 1} of {count} in {times[-1]:.1f} s")
    time.sleep(max(0.0, began + seconds - time.perf_counter()))
    return times


def tables(document: Mapping[str, Any]) -> list[Table]:
    """Lay a kept result out: requests, swaps, memory."""
    rows: dict[str, list[Mapping[str, Any]]] = {"requests": [], "swaps": [], "killed": [], "memory": []}
    for row in document["results"]:
        rows[next(iter(row["case"]))].append(row)
    minutes = document["settings"]["minutes"]
    return [
        Table(
            f"Requests of {minutes:g} minutes",
            ["kind", "answers", "failures", "s"],
            [
                [row["case"]["requests"], number(row["figures"]["answers"]),
                 number(row["figures"]["failures"]), span(row["figures"]["seconds"])]
                for row in rows["requests"]
            ],
        ),
        Table(
            "Swaps",
            ["swaps", "s", "restarts", "rollback s"],
            [
                [str(row["case"]["swaps"]), span(row["figures"]["swap_seconds"]),
                 number(row["figures"]["restarts"]), span(row["figures"]["rollback_seconds"])]
                for row in rows["swaps"]
            ],
        ),
        Table(
            "Healing",
            ["killed", "s until the next answer"],
            [[row["case"]["killed"], span(row["figures"]["heal_seconds"])] for row in rows["killed"]],
        ),
        Table(
            "Memory of the edge",
            ["when", "MiB", "of the first minute"],
            [
                [row["case"]["memory"], number(row["figures"]["memory_mib"]),
                 number(row["figures"].get("of_first_minute"))]
                for row in rows["memory"]
            ],
        ),
    ]  # fmt: skip
