"""Rounds: ask the edges, keep each answer on the disk, average, judge, and only then call it the model.

    federation/
        journal.jsonl                 what happened, see `fl.status`
        00000/model.safetensors       the model that the federation began with
        00003/updates/EDGE.safetensors
        00003/model.safetensors       the average, refused or not; with FedAdam its moments.safetensors too

Whoever is killed resumes where the journal ends, with the answers of the unfinished round kept. A transport
(Flower, or the edges in one process) is a `Fleet`.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from fl.average import Averaging, merge
from fl.journal import Journal, Row
from fl.parameters import (
    Parameters,
    ParametersError,
    check_parameters,
    fingerprint,
    map_parameters,
    write_parameters,
)
from mvstylizer.errors import MVStylizerError

if TYPE_CHECKING:
    from fl.gate import Verdict

FEDERATION, JOURNAL = "federation", "journal.jsonl"
MODEL, MOMENTS, UPDATES = "model.safetensors", "moments.safetensors", "updates"
STALE_WEIGHT = 0.5  # an answer to the round before counts half, to the one before that a quarter
KEEP_UPDATES = 3  # rounds whose single answers stay on the disk; models stay for ever


class RoundError(MVStylizerError):
    """A round cannot give a model: nobody answered, or too few."""


@dataclass(frozen=True)
class Answer:
    """What came back from an edge.

    Attributes:
        edge: Its name.
        turn: The round that it answers.
        parameters: Retrained parameters; None when it failed.
        frames: Frames that it trained on.
        losses: Its mean losses.
        sha256: Fingerprint that the edge computed.
        error: Why it failed.
        is_lost: The edge went away before it answered: it is asked again when it is back.
    """

    edge: str
    turn: int
    parameters: Parameters | None = None
    frames: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    sha256: str = ""
    error: str = ""
    is_lost: bool = False


class Fleet(Protocol):
    """The edges, however they are reached."""

    def edges(self) -> Sequence[str]:
        """Return the names of the edges that are there now."""

    def ask(self, edge: str, turn: int, model: Path) -> None:
        """Have an edge retrain a model; its answer comes by `answers`."""

    def answers(self) -> Sequence[Answer]:
        """Return what came since the last call; may wait a moment for it."""


class Evaluator(Protocol):
    """Compares an average with the model that serves, see `fl.gate.Gate`."""

    def judge(self, candidate: Path, live: Path) -> Verdict:
        """Return whether the candidate may replace the live model, and why."""


class Private(Protocol):
    """Averages so that no single edge can be made out, see `fl.flower.privacy.Privacy`."""

    def average(self, base: Parameters, updates: Sequence[Parameters]) -> dict[str, NDArray[np.float32]]:
        """Return the next global model."""

    def epsilon(self, releases: int) -> float:
        """Return what some averages have told about one edge."""


class ServerStep(Protocol):
    """Goes from the model on along the average, see `fl.flower.adam.Adam`."""

    def step(
        self, base: Parameters, average: Parameters, moments: Parameters, turn: int
    ) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
        """Take a step.

        Args:
            base: The model that the round started from.
            average: Of the edges' answers.
            moments: ``m.NAME`` and ``v.NAME`` of the last accepted round; empty for the first.
            turn: The round, from 1.

        Returns:
            The next model, and its moments.
        """


@dataclass(frozen=True)
class Policy:
    """What a round needs.

    Attributes:
        quorum: Edges that must answer.
        deadline_s: Seconds after which a round goes on with those who did.
        averaging: How updates become a model.
        private: Averages instead, with differential privacy; a server's step may follow it.
        adam: What the server makes of the average; None = the average is the next model.
    """

    quorum: int = 2
    deadline_s: float = 3600.0
    averaging: Averaging = field(default_factory=Averaging)
    private: Private | None = None
    adam: ServerStep | None = None


class Rounds:
    """The round state machine over one folder.

    Args:
        folder: Where journal and models lie.
        start: Checkpoint to begin with; only read when the folder is new.
        clock: Monotonic seconds.

    Raises:
        ParametersError: The start is no checkpoint.
        JournalError: The journal is damaged.
    """

    def __init__(
        self, folder: Path, start: Path | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder = folder
        self._clock = clock
        self._busy: set[str] = set()  # asked, not answered yet, maybe since an earlier round
        self.journal = Journal(folder / JOURNAL)
        if not self.journal.events("begun"):
            if start is None:
                raise RoundError(f"{folder} holds no federation", "Name the checkpoint to begin with")
            parameters, header = map_parameters(start)
            write_parameters(self.model_path(0), parameters, header)
            self.journal.write("begun", turn=0, sha256=fingerprint(parameters))

    @property
    def turn(self) -> int:
        """The round that comes next, or goes on after a kill."""
        return max((int(row["turn"]) for row in self.journal.events("accepted", "refused")), default=0) + 1

    @property
    def model(self) -> Path:
        """The last accepted model, the one to train on."""
        return self.model_path(int(self.journal.events("begun", "accepted")[-1]["turn"]))

    def model_path(self, turn: int) -> Path:
        """Return where a round's average lies."""
        return self.folder / f"{turn:05d}" / MODEL

    def run(self, fleet: Fleet, policy: Policy, judge: Evaluator) -> Row:
        """Run the next round to its end and return its row of the journal (``accepted`` or ``refused``).

        Raises:
            RoundError: Nobody answered, or fewer than the quorum; what came is kept for the next try.
        """
        turn, live = self.turn, self.model
        live_parameters, header = map_parameters(live)
        if not any(row["turn"] == turn for row in self.journal.events("opened")):
            self.journal.write("opened", turn=turn, quorum=policy.quorum, deadline_s=policy.deadline_s)
        self._collect(fleet, policy, turn, live, live_parameters)
        received = self._received(turn)
        if len(received) < policy.quorum:
            said = "nobody answered" if not received else f"{len(received)} of {policy.quorum} edges answered"
            self.journal.write("failed", turn=turn, reason=said)
            raise RoundError(
                f"Round {turn}: {said} within {policy.deadline_s:g} s",
                "Look at `mvstylizer federate status` for the edges, then submit again: nothing is lost",
            )
        average = self._average(received, live_parameters, policy)
        candidate = self.model_path(turn)
        if policy.adam is not None:
            average, moments = policy.adam.step(live_parameters, average, self._moments(live), turn)
            write_parameters(candidate.with_name(MOMENTS), moments, {})
        write_parameters(candidate, average, header)
        verdict = judge.judge(candidate, live)
        self._prune(turn - KEEP_UPDATES)
        return self.journal.write(
            "accepted" if verdict.accepted else "refused",
            turn=turn,
            sha256=fingerprint(average),
            edges=sorted(received),
            frames=sum(int(row["frames"]) for row in received.values()),
            **self._spent(policy),
            **verdict.as_dict(),
        )

    def _collect(self, fleet: Fleet, policy: Policy, turn: int, live: Path, like: Parameters) -> None:
        """Ask every edge that is there or comes, until all that were asked have answered or time is up.

        An edge that still works on an earlier round is neither asked nor awaited: its late answer counts in
        the round in which it comes, with less weight.
        """
        end = self._clock() + policy.deadline_s
        resolved = set(self._received(turn))  # before a kill
        asked: set[str] = set()
        while self._clock() < end:
            for edge in fleet.edges():
                if edge not in self._busy | asked | resolved:
                    fleet.ask(edge, turn, live)
                    asked.add(edge)
                    self._busy.add(edge)
            for answer in fleet.answers():
                self._receive(answer, turn, like)
                self._busy.discard(answer.edge)
                (asked.discard if answer.is_lost else resolved.add)(answer.edge)
            if asked <= resolved and len(self._received(turn)) >= policy.quorum:
                return

    def _receive(self, answer: Answer, turn: int, like: Parameters) -> None:
        """Put an answer on the disk, then in the journal; one that cannot enter the average is explained."""
        row = {"turn": turn, "edge": answer.edge, "answers": answer.turn}
        try:
            if answer.parameters is None:
                raise ParametersError(answer.error)
            check_parameters(answer.parameters, like, answer.edge)
            if fingerprint(answer.parameters) != answer.sha256:
                raise ParametersError(f"{answer.edge}'s parameters are not those that it sent")
        except ParametersError as err:
            self.journal.write("discarded", **row, reason=err.message)
            return
        path = self.folder / f"{turn:05d}" / UPDATES / f"{answer.edge}.safetensors"
        write_parameters(path, answer.parameters, {})
        self.journal.write("answer", **row, frames=answer.frames, losses=answer.losses, sha256=answer.sha256)

    def _received(self, turn: int) -> dict[str, Row]:
        return {row["edge"]: row for row in self.journal.events("answer") if row["turn"] == turn}

    def _average(
        self, received: dict[str, Row], base: Parameters, policy: Policy
    ) -> dict[str, NDArray[np.float32]]:
        updates, weights = [], []
        for edge, row in sorted(received.items()):
            path = self.folder / f"{row['turn']:05d}" / UPDATES / f"{edge}.safetensors"
            updates.append(map_parameters(path)[0])
            weights.append(row["frames"] * STALE_WEIGHT ** (row["turn"] - row["answers"]))
        if policy.private is not None:
            return policy.private.average(base, updates)
        return merge(base, updates, weights, policy.averaging)

    def _spent(self, policy: Policy) -> dict[str, float]:
        """Return the privacy that the federation has spent with this round; refused ones count too."""
        if policy.private is None:
            return {}
        before = sum("epsilon" in row for row in self.journal.events("accepted", "refused"))
        return {"epsilon": round(policy.private.epsilon(before + 1), 4)}

    def _moments(self, live: Path) -> Parameters:
        """Return FedAdam's moments of the accepted model: those of a refused one die with it."""
        path = live.with_name(MOMENTS)
        return map_parameters(path)[0] if path.is_file() else {}

    def _prune(self, turn: int) -> None:
        shutil.rmtree(self.folder / f"{turn:05d}" / UPDATES, ignore_errors=True)
