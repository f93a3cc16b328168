"""Differential privacy at the edge: noise on an update before it leaves, whatever the cloud asks for.

The unit is the edge: from what it sends, an observer, the cloud included, can hardly tell its photos from any
others. Each update is clipped to an L2 norm of `clip`. Replacing all photos moves a clipped update by at most
2 · clip, so noise of noise · clip per value is a Gaussian mechanism of multiplier noise / 2. The number of
frames is sent as it is; losses are not sent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fl.average import distance
from fl.journal import Journal, read_journal
from fl.parameters import Parameters
from mvstylizer.errors import MVStylizerError

DELTA = 1e-5
LEDGER = "privacy.jsonl"  # in an edge folder: one line per update that left with noise
LOCK_TIMEOUT_S = 30.0  # another run's training may be writing

_NOISED = "noised"


class PrivacyError(MVStylizerError):
    """The privacy spent cannot be recorded, so the update is not sent."""


@dataclass(frozen=True)
class EdgePrivacy:
    """Clipping and noise of one edge's updates.

    Attributes:
        noise: Noise multiplier, positive: each value of an update gets noise of noise · clip.
        clip: Maximum L2 norm of an update, positive.
    """

    noise: float
    clip: float

    def __post_init__(self) -> None:
        if not (0 < self.noise < math.inf and 0 < self.clip < math.inf):
            raise ValueError(f"noise and clip must be positive, not {self.noise} and {self.clip}")

    @property
    def cost(self) -> float:
        """Rényi divergence per order of one update; the costs of several add up (Mironov 2017)."""
        return 2 / self.noise**2  # 1 / (2 (noise / 2)²)

    def noised(self, base: Parameters, update: Parameters) -> dict[str, NDArray[np.float32]]:
        """Return the clipped update with noise.

        Args:
            base: The model that the edge received.
            update: The same parameters after training.
        """
        rng = np.random.default_rng()  # from the system's entropy: nobody else may know the noise
        length = distance(update, base)
        scale = min(1.0, self.clip / length) if length > 0 else 1.0
        return {
            name: (
                start
                + scale * (update[name].astype(np.float64) - start)
                + rng.normal(0.0, self.noise * self.clip, start.shape)
            ).astype(np.float32)
            for name, start in base.items()
        }


def epsilon(cost: float) -> float:
    """Return epsilon at `DELTA` of Gaussian mechanisms whose Rényi divergence per order sums to `cost`."""
    return cost + 2 * math.sqrt(cost * math.log(1 / DELTA))


def charge(folder: Path, privacy: EdgePrivacy, server_round: int) -> float:
    """Record an update in an edge's ledger before it is sent, and return the epsilon of all so far.

    Raises:
        PrivacyError: The ledger cannot be written.
        JournalError: The ledger is damaged.
    """
    try:
        ledger = Journal(folder / LEDGER, LOCK_TIMEOUT_S)
        try:
            total = sum(row["cost"] for row in ledger.events(_NOISED)) + privacy.cost
            spent = round(epsilon(total), 4)
            ledger.write(
                _NOISED,
                round=server_round,
                noise=privacy.noise,
                clip=privacy.clip,
                cost=privacy.cost,
                epsilon=spent,
            )
        finally:
            ledger.close()
    except OSError as err:
        raise PrivacyError(f"Cannot write {folder / LEDGER}: {err}", "Free disk space") from err
    return spent


def spent(folder: Path) -> tuple[int, float]:
    """Return the number of updates that left an edge with noise, and their epsilon.

    Raises:
        JournalError: The ledger is damaged.
    """
    path = folder / LEDGER
    rows = [row for row in read_journal(path) if row["event"] == _NOISED] if path.is_file() else []
    return len(rows), rows[-1]["epsilon"] if rows else 0.0
