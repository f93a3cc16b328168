"""Proposes `serve` options for this machine: the highest throughput within a latency goal.

Each way to divide the cores among stylizer instances is started as a real edge. More and more phones then
send key frames in a closed loop, for a map as reply, until the 95th percentile of latency exceeds the goal.
The largest number of phones within the goal becomes the edge's limit on concurrent requests.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.data import footage
from benchmarks.edge_load import routes
from benchmarks.edge_load.load import Load, closed_loop
from benchmarks.harness.registry import Progress
from benchmarks.harness.timing import Work
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from mvstylizer.bundle import load_bundle
from mvstylizer.errors import MVStylizerError

MAX_PHONES: Final = 64
P95: Final = 0.95
SCHEMA_VERSION: Final = 1

Try = Callable[[int], Load]
"""Puts a number of phones on an edge."""


class ProposalError(MVStylizerError):
    """No configuration of this machine reaches the latency goal."""


@dataclass(frozen=True)
class Trial:
    """The outcome of one load on one configuration.

    Attributes:
        workers: Stylizer instances.
        threads: Threads of each instance.
        phones: Clients that each wait for their reply.
        p95_ms: 95th percentile of latency, in milliseconds; None without a reply.
        requests_per_s: Successful requests per second.
        errors: Failed requests.
    """

    workers: int
    threads: int
    phones: int
    p95_ms: float | None
    requests_per_s: float
    errors: int

    def reaches(self, goal_ms: float) -> bool:
        """Return whether it is within a latency goal."""
        return self.p95_ms is not None and self.p95_ms <= goal_ms


@dataclass(frozen=True)
class Proposal:
    """The best configuration.

    Attributes:
        goal_ms: Latency goal for the 95th percentile, in milliseconds.
        best: Its trial at the limit.
        trials: All trials in order.
    """

    goal_ms: float
    best: Trial
    trials: list[Trial]

    @property
    def command(self) -> str:
        """The command line of `serve`."""
        best = self.best
        return (
            f"mvstylizer serve --workers {best.workers} --threads {best.threads} --max-requests {best.phones}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, the command and ``schema_version`` as JSON-serializable values."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self), "command": self.command}


def propose(
    bundle: Path, goal_ms: float, *, resolution: str, cores: int, seconds: float, progress: Progress
) -> Proposal:
    """Measure every configuration of this machine.

    Args:
        bundle: Folder of the model bundle.
        goal_ms: Latency goal for the 95th percentile, in milliseconds.
        resolution: Size of the key frames, ``WIDTHxHEIGHT``.
        cores: CPU cores to divide.
        seconds: Duration of each load.
        progress: Receives lines of progress.

    Raises:
        ProposalError: No configuration reaches the goal.
        MVStylizerError: The bundle cannot be loaded, or an edge does not start.
    """
    model = load_bundle(bundle)
    frame = footage.photo(*footage.size(resolution))
    with OnnxStylizer(model, threads=cores) as here:
        sample = routes.SampleRequest(model, frame, here.encode_style(footage.style()))
    trials: list[Trial] = []
    for workers in divisors(cores):
        options = ("--workers", str(workers), "--threads", str(cores // workers))
        progress(f"proposal: {workers} workers with {cores // workers} threads each")
        with routes.serving(bundle, MAX_PHONES, *options, "--max-requests", str(MAX_PHONES)) as edge:
            load = partial(_load, edge[0], edge[1], sample, seconds)
            load(1)  # warms up
            trials += search(load, goal_ms, workers, cores // workers, progress)
    return chosen(trials, goal_ms)


def divisors(cores: int) -> list[int]:
    """Return the numbers of instances that use all cores."""
    return [workers for workers in range(1, cores + 1) if cores % workers == 0]


def search(load: Try, goal_ms: float, workers: int, threads: int, progress: Progress) -> list[Trial]:
    """Find the largest number of phones within the goal: doubled until it is missed, then by halves.

    Returns:
        Every trial, in order.
    """
    trials: list[Trial] = []

    def reaches(phones: int) -> bool:
        done = load(phones)
        p95 = done.quantile(P95)
        shown = None if p95 is None else round(1000 * p95, 1)
        trials.append(Trial(workers, threads, phones, shown, round(done.throughput, 2), done.errors.total()))
        progress(f"proposal: {phones} phones, p95 {shown} ms, {done.throughput:.1f} requests/s")
        return trials[-1].reaches(goal_ms)

    good, bad = 0, MAX_PHONES + 1
    while good < MAX_PHONES and reaches(max(1, min(2 * good, MAX_PHONES))):
        good = trials[-1].phones
    if trials[-1].phones > good:
        bad = trials[-1].phones
    while bad - good > max(1, good // 8):
        middle = (good + bad) // 2
        good, bad = (middle, bad) if reaches(middle) else (good, middle)
    return trials


def chosen(trials: list[Trial], goal_ms: float) -> Proposal:
    """Return the trial with the highest throughput within the goal.

    Raises:
        ProposalError: There is none.
    """
    within = [trial for trial in trials if trial.reaches(goal_ms)]
    if not within:
        best = min((trial.p95_ms for trial in trials if trial.p95_ms is not None), default=None)
        raise ProposalError(
            f"No configuration of this machine answers within {goal_ms:g} ms: the best p95 is {best} ms",
            "Raise the goal, use the lite bundle, or a machine with a GPU",
        )
    return Proposal(goal_ms, max(within, key=lambda trial: trial.requests_per_s), trials)


def _load(address: str, tokens: list[str], sample: routes.SampleRequest, seconds: float, phones: int) -> Load:
    def connect(number: int) -> AbstractContextManager[Work]:
        return routes.client(address, sample, "map", token=tokens[number], frugal=True)

    return closed_loop(connect, phones, seconds)
