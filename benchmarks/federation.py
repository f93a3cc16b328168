"""A federation in one process: the edges' retraining and the cloud's rounds, without Flower between them.

Rounds, averaging and retraining are the federation's own (`fl.rounds`, `fl.average`, `fl.site`). Only the
way between them is another: an edge is a task in a pool of threads. Every round ends on the disk, so a run
that is interrupted goes on with the round that it was in.
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

from benchmarks.harness.registry import Say
from fl.average import Averaging
from fl.gate import Gate, Verdict
from fl.journal import Row
from fl.rounds import Answer, Policy, Rounds
from fl.site import SiteUpdate, retrain
from mvstylizer.errors import MVStylizerError
from training.config import StepConfig

# Algorithm 2 as the paper has it: an equal mean, nothing clipped.
PAPER_AVERAGING: Final = Averaging(mode="equal", clip=0)
_SEED_STRIDE: Final = 100_003  # keeps the edges' draws apart: `retrain` adds the round's number to the seed
_LONG_S: Final = 7 * 86_400.0


class FederationError(MVStylizerError):
    """An edge of the federation failed, or was told to stop."""


class Point(NamedTuple):
    """The global model after a round, on the hold-out set.

    Attributes:
        images: Images that each edge has trained on so far.
        total: Eq. 5 with lambda = 1, mean over the styles: content + style.
        content: Its content part.
        style: Its style part.
    """

    images: int
    total: float
    content: float
    style: float


@dataclass(frozen=True)
class Schedule:
    """What every federation of an experiment shares.

    Attributes:
        spool: Folder with ``frames/`` and ``styles/``; each edge draws from all of it, as in the paper.
        steps: Optimizer steps of an edge in a round.
        step: One step.
    """

    spool: Path
    steps: int
    step: StepConfig

    @property
    def images(self) -> int:
        """Images that an edge trains on in a round."""
        return self.steps * self.step.batch


class LocalFleet:
    """Edges as tasks of a pool; a `fl.rounds.Fleet`.

    Args:
        count: Edges.
        schedule: What they do in a round.
        pool: What runs them; several fleets may share it.
        stop: Set: the edges give up before their next step.
    """

    def __init__(self, count: int, schedule: Schedule, pool: Executor, stop: Event) -> None:
        self._names = [f"edge{number}" for number in range(1, count + 1)]
        self._schedule, self._pool, self._stop = schedule, pool, stop
        self._done: queue.SimpleQueue[Answer] = queue.SimpleQueue()

    def edges(self) -> Sequence[str]:
        """Return the edges' names."""
        return self._names

    def ask(self, edge: str, turn: int, model: Path) -> None:
        """Have an edge retrain a model, with draws of its own."""
        config = self._schedule.step
        own = replace(config, seed=config.seed + _SEED_STRIDE * self._names.index(edge))
        work = partial(
            retrain, model, self._schedule.spool, steps=self._schedule.steps, config=own, turn=turn
        )
        self._pool.submit(work, pause=self._pause).add_done_callback(partial(self._answer, edge, turn))

    def answers(self) -> Sequence[Answer]:
        """Wait for the next answer.

        Raises:
            FederationError: The edge failed: the round can never be whole.
        """
        answer = self._done.get()
        if answer.error:
            raise FederationError(f"{answer.edge}, round {answer.turn}: {answer.error}")
        return [answer]

    def _pause(self) -> None:
        if self._stop.is_set():
            raise FederationError("The run was stopped")

    def _answer(self, edge: str, turn: int, future: Future[SiteUpdate]) -> None:
        error = future.exception()
        if error is not None:
            self._done.put(Answer(edge, turn, error=str(error)))
            return
        got = future.result()
        self._done.put(Answer(edge, turn, got.parameters, got.frames, got.losses, got.sha256))


class Scorer:
    """Accepts every average, as the paper does, with its score for the journal; a `fl.rounds.Evaluator`."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def judge(self, candidate: Path, live: Path) -> Verdict:
        """Return the candidate's scores."""
        scores = self._gate.score(candidate)
        return Verdict(True, (), {style: {"candidate": score} for style, score in scores.items()})


def run_federation(
    folder: Path, start: Path, fleet: LocalFleet, gate: Gate, *, rounds: int, images: int, say: Say
) -> list[Point]:
    """Run a federation on from where its folder stands, and return its curve, a point for each round.

    Args:
        folder: Where its rounds lie.
        start: Checkpoint that it begins with.
        fleet: The edges.
        gate: Scores the models.
        rounds: Rounds in all.
        images: Images that an edge trains on in a round.
        say: Takes a line for each round.

    Raises:
        FederationError: An edge failed.
    """
    edges = len(fleet.edges())
    policy = Policy(quorum=edges, deadline_s=_LONG_S, averaging=PAPER_AVERAGING)
    federation, scorer = Rounds(folder, start), Scorer(gate)
    try:
        while federation.turn <= rounds:
            point = _point(federation.run(fleet, policy, scorer), images)
            say(f"{edges} edges, {point.images} images each: loss {point.total:.4f}")
        return [_point(row, images) for row in federation.journal.events("accepted")[:rounds]]
    finally:
        federation.journal.close()


def score(gate: Gate, checkpoint: Path) -> Point:
    """Return a model's point before any training."""
    scores = gate.score(checkpoint).values()
    return _mean(0, [(each.total, each.content, each.style) for each in scores])


def _point(row: Row, images: int) -> Point:
    scores = [each["candidate"] for each in row["scores"].values()]
    losses = [(each["total"], each["content"], each["style"]) for each in scores]
    return _mean(row["turn"] * images, losses)


def _mean(images: int, losses: Sequence[tuple[float, float, float]]) -> Point:
    total, content, style = (fmean(part) for part in zip(*losses, strict=True))
    return Point(images, total, content, style)
