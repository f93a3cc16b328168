"""Rounds: collect updates from the edges, average them, evaluate the average, then accept or reject it.

    federation/
        journal.jsonl                 the event log, see `fl.status`
        00000/model.safetensors       the initial model
        00003/updates/EDGE.safetensors
        00003/model.safetensors       the average, accepted or not; with FedAdam also moments.safetensors

A killed process resumes where the journal ends and keeps the updates of the unfinished round. The transport
(Flower, or edges in the same process) is a `Fleet`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from fl.average import merge
from fl.fleet import Fleet
from fl.journal import Journal, Row
from fl.parameters import Parameters, fingerprint, map_parameters, trained, write_parameters
from fl.round_config import RoundConfig
from fl.update_store import UpdateStore
from mvstylizer.errors import MVStylizerError

if TYPE_CHECKING:
    from fl.gate import GateDecision

FEDERATION, JOURNAL = "federation", "journal.jsonl"
MODEL, MOMENTS = "model.safetensors", "moments.safetensors"
STALE_WEIGHT = 0.5  # factor on an update's weight for each round that it is late
KEEP_UPDATES = 3  # rounds whose updates stay on disk; models are never deleted


class RoundError(MVStylizerError):
    """A round cannot produce a model: too few updates, or no initial model."""


class Evaluator(Protocol):
    """Compares an average with the live model, see `fl.gate.Gate`."""

    def evaluate(self, candidate: Path, live: Path) -> GateDecision:
        """Decide whether the candidate may replace the live model."""


class Rounds:
    """The round state machine of one federation folder.

    Args:
        folder: Folder of the journal and the models.
        start: Initial checkpoint; only read if the folder is new.
        clock: Returns monotonic seconds.
        wait_s: Time to wait for another process that is writing the folder, in seconds.

    Raises:
        RoundError: The folder is new and there is no initial checkpoint.
        ParametersError: The initial checkpoint cannot be read.
        JournalError: The journal is damaged, or another process is writing it.
    """

    def __init__(
        self,
        folder: Path,
        start: Path | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wait_s: float = 0.0,
    ) -> None:
        self.folder = folder
        self._clock = clock
        self._training: set[str] = set()  # edges without a reply yet, possibly since an earlier round
        self.journal = Journal(folder / JOURNAL, wait_s)
        self._updates = UpdateStore(folder, self.journal)
        if not self.journal.events("begun"):
            self._begin(start)

    @property
    def next_round(self) -> int:
        """The next round, or the one to resume."""
        ended = (int(row["round"]) for row in self.journal.events("accepted", "refused"))
        return max(ended, default=0) + 1

    @property
    def model(self) -> Path:
        """The last accepted model, on which the next round trains."""
        return self.model_path(int(self.journal.events("begun", "accepted")[-1]["round"]))

    def model_path(self, server_round: int) -> Path:
        """Return the path of a round's average."""
        return self._round_folder(server_round) / MODEL

    def run(self, fleet: Fleet, config: RoundConfig, evaluator: Evaluator) -> Row:
        """Run the next round to its end.

        Returns:
            The round's journal entry, ``accepted`` or ``refused``.

        Raises:
            RoundError: Fewer updates than the quorum; those received are kept for the next attempt.
        """
        server_round, live = self.next_round, self.model
        whole, header = map_parameters(live)
        base = trained(whole)
        self._open(server_round, config)
        self._updates.recheck(server_round, base)
        self._collect(fleet, config, server_round, live, base)
        received = self._updates.received(server_round)
        self._check_quorum(server_round, len(received), config)
        candidate = self.model_path(server_round)
        merged = {**whole, **self._next_model(received, base, config, candidate, server_round)}
        write_parameters(candidate, merged, header)
        decision = evaluator.evaluate(candidate, live)
        self._updates.delete(server_round - KEEP_UPDATES)
        return self.journal.write(
            "accepted" if decision.accepted else "refused",
            round=server_round,
            sha256=fingerprint(merged),
            edges=sorted(received),
            frames=sum(int(row["frames"]) for row in received.values()),
            **self._privacy_spent(config),
            **decision.as_dict(),
        )

    def _round_folder(self, server_round: int) -> Path:
        return self.folder / f"{server_round:05d}"

    def _begin(self, start: Path | None) -> None:
        if start is None:
            raise RoundError(
                f"{self.folder} contains no federation", "Pass the initial checkpoint with --start"
            )
        parameters, header = map_parameters(start)
        write_parameters(self.model_path(0), parameters, header)
        self.journal.write("begun", round=0, sha256=fingerprint(parameters))

    def _open(self, server_round: int, config: RoundConfig) -> None:
        if not any(row["round"] == server_round for row in self.journal.events("opened")):
            self.journal.write(
                "opened", round=server_round, quorum=config.quorum, deadline_s=config.deadline_s
            )

    def _collect(
        self, fleet: Fleet, config: RoundConfig, server_round: int, live: Path, like: Parameters
    ) -> None:
        """Start training on every online edge and collect updates until all have replied or time is up.

        An edge that is still busy with an earlier round is skipped: its late update counts, with less
        weight, in the round in which it arrives.
        """
        end = self._clock() + config.deadline_s
        resolved = set(self._updates.received(server_round))  # received before a restart
        started: set[str] = set()
        while self._clock() < end:
            for edge in fleet.edges():
                if edge not in self._training | started | resolved:
                    fleet.train(edge, server_round, live)
                    started.add(edge)
                    self._training.add(edge)
            for update in fleet.updates():
                self._updates.add(update, server_round, like)
                self._training.discard(update.edge)
                (started.discard if update.is_lost else resolved.add)(update.edge)
            if started <= resolved and len(self._updates.received(server_round)) >= config.quorum:
                return

    def _check_quorum(self, server_round: int, received: int, config: RoundConfig) -> None:
        if received >= config.quorum:
            return
        reason = f"{received} of {config.quorum} edges replied" if received else "no edge replied"
        self.journal.write("failed", round=server_round, reason=reason)
        raise RoundError(
            f"Round {server_round}: {reason} within {config.deadline_s:g} s",
            "Check the edges with `mvstylizer federate status`, then submit again: no update is lost",
        )

    def _next_model(
        self,
        received: dict[str, Row],
        base: Parameters,
        config: RoundConfig,
        candidate: Path,
        server_round: int,
    ) -> dict[str, NDArray[np.float32]]:
        average = self._average(received, base, config)
        if config.server_optimizer is None:
            return average
        moments = self._moments(self.model)
        merged, moments = config.server_optimizer.step(base, average, moments, server_round)
        write_parameters(candidate.with_name(MOMENTS), moments, {})
        return merged

    def _average(
        self, received: dict[str, Row], base: Parameters, config: RoundConfig
    ) -> dict[str, NDArray[np.float32]]:
        updates, weights = [], []
        for _, row in sorted(received.items()):
            updates.append(self._updates.parameters(row))
            weights.append(row["frames"] * STALE_WEIGHT ** (row["round"] - row["trained_round"]))
        if config.privacy is not None:
            return config.privacy.average(base, updates)
        return merge(base, updates, weights, config.averaging)

    def _privacy_spent(self, config: RoundConfig) -> dict[str, float]:
        """Return the privacy loss including this round; refused rounds count too."""
        if config.privacy is None:
            return {}
        earlier = sum("epsilon" in row for row in self.journal.events("accepted", "refused"))
        return {"epsilon": round(config.privacy.epsilon(earlier + 1), 4)}

    def _moments(self, live: Path) -> Parameters:
        """Return the moments of the accepted model; those of a refused one are ignored."""
        path = live.with_name(MOMENTS)
        return map_parameters(path)[0] if path.is_file() else {}
