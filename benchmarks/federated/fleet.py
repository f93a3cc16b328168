"""A federation in one process: local training and rounds without Flower.

Rounds, averaging and local training are those of `fl`; only the transport differs: an edge is a task in a
thread pool. Every round is stored on disk, so an interrupted run resumes its unfinished round.
"""

from __future__ import annotations

import queue
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from threading import Event
from typing import Final, NamedTuple

from benchmarks.harness.registry import Progress
from fl.average import Averaging
from fl.fleet import EdgeUpdate
from fl.gate import Gate, GateDecision
from fl.journal import Row
from fl.local_training import LocalUpdate, retrain
from fl.round_config import RoundConfig
from fl.rounds import Rounds
from mvstylizer.errors import MVStylizerError
from training.config import StepConfig

# Algorithm 2 as in the paper: an equal mean without clipping.
PAPER_AVERAGING: Final = Averaging(mode="equal", clip=0)
_SEED_STRIDE: Final = 100_003  # keeps the edges' seeds apart: `retrain` adds the round to the seed
_DEADLINE_S: Final = 7 * 86_400.0


class LocalFederationError(MVStylizerError):
    """Training on an edge failed or was stopped."""


class Point(NamedTuple):
    """The global model's loss on the hold-out set after a round.

    Attributes:
        images: Images that each edge has trained on so far.
        total: Eq. 5 with lambda = 1, averaged over the styles: content + style.
        content: Content loss.
        style: Style loss.
    """

    images: int
    total: float
    content: float
    style: float


@dataclass(frozen=True)
class Schedule:
    """Local training settings shared by all federations of an experiment.

    Attributes:
        spool: Folder with ``frames/`` and ``styles/``; each edge samples from all of it, as in the paper.
        steps: Local optimizer steps per round.
        step: Settings of a step.
    """

    spool: Path
    steps: int
    step: StepConfig

    @property
    def images(self) -> int:
        """Images per edge and round."""
        return self.steps * self.step.batch


class LocalFleet:
    """Edges as tasks in a thread pool, a `fl.fleet.Fleet`.

    Args:
        count: Number of edges.
        schedule: Local training settings.
        pool: Runs the edges; may be shared between fleets.
        stop: When set, edges stop before their next step.
    """

    def __init__(self, count: int, schedule: Schedule, pool: Executor, stop: Event) -> None:
        self._names = [f"edge{number}" for number in range(1, count + 1)]
        self._schedule, self._pool, self._stop = schedule, pool, stop
        self._done: queue.SimpleQueue[EdgeUpdate] = queue.SimpleQueue()

    def edges(self) -> Sequence[str]:
        """Return the names of the edges."""
        return self._names

    def train(self, edge: str, server_round: int, model: Path) -> None:
        """Start training a model on an edge, with the edge's own random seed."""
        config = self._schedule.step
        task = partial(
            retrain,
            model,
            self._schedule.spool,
            steps=self._schedule.steps,
            config=replace(config, seed=config.seed + _SEED_STRIDE * self._names.index(edge)),
            server_round=server_round,
            pause=self._check_stop,
        )
        self._pool.submit(task).add_done_callback(partial(self._put, edge, server_round))

    def updates(self) -> Sequence[EdgeUpdate]:
        """Wait for the next update.

        Raises:
            LocalFederationError: An edge failed, so the round cannot be completed.
        """
        update = self._done.get()
        if update.error:
            raise LocalFederationError(f"{update.edge}, round {update.server_round}: {update.error}")
        return [update]

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise LocalFederationError("The run was stopped")

    def _put(self, edge: str, server_round: int, future: Future[LocalUpdate]) -> None:
        error = future.exception()
        if error is not None:
            self._done.put(EdgeUpdate(edge, server_round, error=str(error)))
            return
        local = future.result()
        update = EdgeUpdate(edge, server_round, local.parameters, local.frames, local.losses, local.sha256)
        self._done.put(update)


class AcceptingEvaluator:
    """Scores and accepts every average, as in the paper; a `fl.rounds.Evaluator`."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def evaluate(self, candidate: Path, live: Path) -> GateDecision:
        """Accept the candidate and return its scores."""
        scores = self._gate.score(candidate)
        return GateDecision(True, (), {style: {"candidate": score} for style, score in scores.items()})


def run_federation(
    folder: Path, start: Path, fleet: LocalFleet, gate: Gate, *, rounds: int, images: int, progress: Progress
) -> list[Point]:
    """Run a federation to a number of rounds, resuming it if it has already started.

    Args:
        folder: Folder of the federation.
        start: Initial checkpoint.
        fleet: The edges.
        gate: Scores the models.
        rounds: Total number of rounds.
        images: Images per edge and round.
        progress: Receives a line per round.

    Returns:
        The loss curve, one point per round.

    Raises:
        LocalFederationError: An edge failed.
    """
    edges = len(fleet.edges())
    config = RoundConfig(quorum=edges, deadline_s=_DEADLINE_S, averaging=PAPER_AVERAGING)
    federation, evaluator = Rounds(folder, start), AcceptingEvaluator(gate)
    try:
        while federation.next_round <= rounds:
            point = _point(federation.run(fleet, config, evaluator), images)
            progress(f"{edges} edges, {point.images} images each: loss {point.total:.4f}")
        return [_point(row, images) for row in federation.journal.events("accepted")[:rounds]]
    finally:
        federation.journal.close()


def score(gate: Gate, checkpoint: Path) -> Point:
    """Return a model's loss before any training."""
    scores = gate.score(checkpoint).values()
    return _mean(0, [(each.total, each.content, each.style) for each in scores])


def _point(row: Row, images: int) -> Point:
    scores = [each["candidate"] for each in row["scores"].values()]
    losses = [(each["total"], each["content"], each["style"]) for each in scores]
    return _mean(row["round"] * images, losses)


def _mean(images: int, losses: Sequence[tuple[float, float, float]]) -> Point:
    total, content, style = (fmean(part) for part in zip(*losses, strict=True))
    return Point(images, total, content, style)
