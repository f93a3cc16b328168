"""How a round is run: quorum, deadline, and how updates become the next model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fl.average import Averaging
from fl.parameters import Parameters


class PrivateAggregator(Protocol):
    """Averages updates with differential privacy, see `fl.flower.privacy.GaussianMechanism`."""

    def average(self, base: Parameters, updates: Sequence[Parameters]) -> dict[str, NDArray[np.float32]]:
        """Return the noisy mean of the updates."""

    def epsilon(self, releases: int) -> float:
        """Return the privacy loss after a number of averages."""


class ServerOptimizer(Protocol):
    """Takes a step from the current model towards the average, see `fl.flower.adam.ServerAdam`."""

    def step(
        self, base: Parameters, average: Parameters, moments: Parameters, server_round: int
    ) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
        """Take a step.

        Args:
            base: The model at the start of the round.
            average: Average of the updates.
            moments: ``m.NAME`` and ``v.NAME`` of the last accepted round; empty in the first round.
            server_round: Number of the round, from 1.

        Returns:
            The next model and its moments.
        """


@dataclass(frozen=True)
class RoundConfig:
    """Settings of a round.

    Attributes:
        quorum: Minimum number of edges that must send an update.
        deadline_s: Seconds after which the round continues with the updates received so far.
        averaging: How updates are averaged.
        privacy: If given, averages with differential privacy instead of `averaging`.
        server_optimizer: Turns the average into the next model; None uses the average itself.
    """

    quorum: int = 2
    deadline_s: float = 3600.0
    averaging: Averaging = field(default_factory=Averaging)
    privacy: PrivateAggregator | None = None
    server_optimizer: ServerOptimizer | None = None
