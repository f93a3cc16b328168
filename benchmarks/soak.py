"""Soak: an edge under mixed load for a long time, swapping models all the while.

Every swap publishes the same model under the next version number into the folder that the edge watches. Some
requests are bad on purpose. Nothing else may fail, and memory
after it all is held against memory after the first minute.
"""

from __future__ import annotations

import json
import socket
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks import footage, routes
from benchmarks.measure import spread
from benchmarks.models import shipped
from benchmarks.registry import Effort, Say, Table
from benchmarks.result import Figure, Result, Row
from benchmarks.rollback import rollback_seconds
from benchmarks.shelf import Shelf
from benchmarks.text import number, span
from edge_triton.client import EdgeClient, EdgeRefusedError, Reply
from mvstylizer_errors import MVStylizerError

RESOLUTION: Final = "512x256"
KINDS: Final[dict[str, dict[str, Any]]] = {
    "raw image": {},
    "JPEG image": {"jpeg_quality": 90},
    "map": {"frugal": True},
    "bad": {},
}
SWAP_TIMEOUT_S: Final = 120.0
SETTLE_S: Final = 5.0
FIGURES: Final = {
    "answers": Figure("requests", "requests answered as they should be, the refusal of bad ones among them"),
    "failures": Figure("requests", "requests that failed", "lower"),
    "seconds": Figure("s", "latency of one request; p50 with least and most", "lower", 0.25),
    "swap_seconds": Figure("s", "from a bundle's rename into the folder until phones get it", "lower", 0.25),
    "rollback_seconds": Figure(
        "s", "from the call until the version before has answered, a 64×64 frame included", "lower", 0.5
    ),
    "restarts": Figure("restarts", "times that the supervisor had to restart Triton", "lower"),
    "memory_mib": Figure("MiB", "proportional set size of the edge: gateway, Triton, stubs", "lower", 0.10),
    "of_first_minute": Figure("ratio", "memory_mib / that after the first minute", "lower", 0.05),
}  # fmt: skip


class SoakError(MVStylizerError):
    """The edge does not serve what was published."""


@dataclass
class Tally:
    """What came of one kind of request."""

    latencies: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)


def run(
    effort: Effort,
    say: Say,
    *,
    bundle: Path | None = None,
    minutes: float | None = None,
    swaps: int | None = None,
) -> Result:
    """Measure.

    Args:
        effort: How long it may take.
        say: Takes progress.
        bundle: What is served; the shipped default if None.
        minutes: Length of the load; 30, or half a minute when quick.
        swaps: Models published meanwhile; 50, or 2 when quick.

    Raises:
        SoakError: A published version is not served in time.
        MVStylizerError: The bundle cannot be loaded, or the edge does not start.
    """
    model = shipped([bundle] if bundle else [])[0]
    seconds = 60 * (effort.pick(30.0, 0.5) if minutes is None else minutes)
    count = effort.pick(50, 2) if swaps is None else swaps
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mvstylizer-soak-"))
        shelf = Shelf(model, Path(folder))
        health = f"127.0.0.1:{_free_port()}"
        address, tokens, pid = stack.enter_context(
            routes.serving(model.path, len(KINDS), "--watch", str(shelf.folder), "--health", health)
        )
        edge = psutil.Process(pid)
        swap(shelf, health)  # from here on two versions are loaded, as ever after
        with _load(address, tokens) as tallies:
            early = min(60.0, seconds / 3)
            time.sleep(early)
            first = _memory_mib(edge)
            times = _swaps(shelf, health, count, seconds - early, say)
        time.sleep(SETTLE_S)
        after, restarts = _memory_mib(edge), _restarts(health)
    say("soak: rollback")
    back = rollback_seconds(model, effort.pick(50, 4))
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
        Row({"memory": "after the first minute"}, {"memory_mib": first}),
        Row({"memory": "after"}, {"memory_mib": after, "of_first_minute": after / first}),
    ]
    failures = [f"{kind}: {what}" for kind, tally in tallies.items() for what in tally.failures]
    settings = {"minutes": seconds / 60, "swaps": count, "resolution": RESOLUTION, "first_minute_s": early}
    return Result("soak", FIGURES, rows, settings, failures)


def swap(shelf: Shelf, health: str) -> float:
    """Publish the next version and return the seconds until phones get it.

    Raises:
        SoakError: They do not get it in time.
    """
    version = shelf.publish().version
    began = time.perf_counter()
    while _served(health) != version:
        if time.perf_counter() - began > SWAP_TIMEOUT_S:
            raise SoakError(f"Version {version} is not served after {SWAP_TIMEOUT_S:g} s", "Look why by hand")
        time.sleep(0.02)
    return time.perf_counter() - began


def _swaps(shelf: Shelf, health: str, count: int, seconds: float, say: Say) -> list[float]:
    """Swap so often, evenly over the time, and wait for its end."""
    began, times = time.perf_counter(), []
    for done in range(count):
        time.sleep(max(0.0, began + seconds * done / count - time.perf_counter()))
        times.append(swap(shelf, health))
        say(f"soak: swap {done + 1} of {count} in {times[-1]:.1f} s")
    time.sleep(max(0.0, began + seconds - time.perf_counter()))
    return times


@contextmanager
def _load(address: str, tokens: list[str]) -> Iterator[dict[str, Tally]]:
    """One client of each kind, asking without pause until the block ends."""
    tallies = {kind: Tally() for kind in KINDS}
    over = threading.Event()
    threads = [
        threading.Thread(target=_ask, args=(address, token, kind, tallies[kind], over.is_set))
        for kind, token in zip(KINDS, tokens, strict=True)
    ]
    for thread in threads:
        thread.start()
    try:
        yield tallies
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _ask(address: str, token: str, kind: str, tally: Tally, is_over: Callable[[], bool]) -> None:
    """Ask again and again: one style photo in ten requests, frames otherwise. No request is repeated."""
    frame, style = footage.photo(*footage.size(RESOLUTION)), footage.style()
    reply: Reply = "map" if kind == "map" else "image"
    with EdgeClient(address, timeout_s=60, patience_s=0, token=token, **KINDS[kind]) as client:
        code, asked = client.encode_style(style), 0
        while not is_over():
            asked += 1
            began = time.perf_counter()
            try:
                if kind == "bad":
                    _be_refused(client, frame, code)
                elif asked % 10 == 0:
                    client.encode_style(style)
                else:
                    client.stylize(frame, code, reply=reply)
            except MVStylizerError as err:
                tally.failures[str(err)] += 1
            else:
                tally.latencies.append(time.perf_counter() - began)


def _be_refused(client: EdgeClient, frame: footage.Picture, code: NDArray[np.float32]) -> None:
    """Send a style code that is no number, then rest: refusing costs next to nothing."""
    try:
        client.stylize(frame, np.full_like(code, np.nan))
    except EdgeRefusedError:
        time.sleep(0.2)
    else:
        raise SoakError("A bad request was answered")


def _served(health: str) -> int:
    try:
        with urllib.request.urlopen(f"http://{health}/healthz", timeout=10) as reply:
            return int(json.loads(reply.read())["version"])
    except OSError:  # 503 while it restarts
        return 0


def _restarts(health: str) -> float:
    with urllib.request.urlopen(f"http://{health}/metrics", timeout=10) as reply:
        lines = reply.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("mvstylizer_restarts_total"))


def _memory_mib(edge: psutil.Process) -> float:
    """Return the memory of the edge's processes; what they share counts once."""
    processes = [edge, *edge.children(recursive=True)]
    return float(sum(each.memory_full_info().pss for each in processes)) / 2**20


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def tables(document: Mapping[str, Any]) -> list[Table]:
    """Lay a kept result out: requests, swaps, memory."""
    rows: dict[str, list[Mapping[str, Any]]] = {"requests": [], "swaps": [], "memory": []}
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
            "Memory of the edge",
            ["when", "MiB", "of the first minute"],
            [
                [row["case"]["memory"], number(row["figures"]["memory_mib"]),
                 number(row["figures"].get("of_first_minute"))]
                for row in rows["memory"]
            ],
        ),
    ]  # fmt: skip
