"""Central differential privacy: Flower's own wrapper clips each edge's update and puts noise on the mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp.strategy import DifferentialPrivacyServerSideFixedClipping, FedAvg
from numpy.typing import NDArray

from fl.average import distance
from fl.parameters import Parameters

DELTA = 1e-5
_WEIGHT = "weight"


@dataclass(frozen=True)
class Privacy:
    """The Gaussian mechanism with an edge as the unit (McMahan et al. 2018), see `fl.rounds.Private`.

    All edges count alike: one that chose its own weight could make itself heard through the noise.

    Attributes:
        noise: Noise multiplier, above 0: the mean of n edges gets noise of noise · clip / n.
        clip: Longest update, in the parameters' own unit; longer ones are shortened to it.
    """

    noise: float
    clip: float

    def __post_init__(self) -> None:
        if not (self.noise > 0 and self.clip > 0):
            raise ValueError(f"noise {self.noise} and clip {self.clip} must be above 0")

    def average(self, base: Parameters, updates: Sequence[Parameters]) -> dict[str, NDArray[np.float32]]:
        """Return the noisy mean of the clipped updates.

        Args:
            base: The model that the round started from.
            updates: The edges' parameters, each checked against `base`.
        """
        strategy = DifferentialPrivacyServerSideFixedClipping(
            FedAvg(weighted_by_key=_WEIGHT), self.noise, self.clip, len(updates)
        )
        strategy.current_arrays = _record(base)
        arrays, _ = strategy.aggregate_train(0, [_reply(update, base) for update in updates])
        assert arrays is not None  # only without replies
        return {name: array.numpy().astype(np.float32) for name, array in arrays.items()}

    def epsilon(self, releases: int) -> float:
        """Return epsilon at `DELTA` after some averages, by Rényi divergences (Mironov 2017)."""
        return releases / (2 * self.noise**2) + math.sqrt(2 * releases * math.log(1 / DELTA)) / self.noise


def _record(parameters: Parameters) -> ArrayRecord:
    # Flower clips in place and pairs arrays by their order, and ours are read-only maps of files.
    return ArrayRecord({name: Array(np.array(parameters[name])) for name in sorted(parameters)})


def _reply(update: Parameters, base: Parameters) -> Message:
    if distance(update, base) == 0:
        update = _moved(update)
    content = RecordDict({"model": _record(update), "metrics": MetricRecord({_WEIGHT: 1.0})})
    return Message(content, dst_node_id=0, message_type=MessageType.TRAIN)


def _moved(parameters: Parameters) -> dict[str, NDArray[np.float32]]:
    """Move one value by a millionth: Flower divides by the update's length, even by that of none."""
    name = min(name for name, value in parameters.items() if value.size)
    moved = np.array(parameters[name])
    moved.flat[0] += 1e-6 * max(1.0, abs(float(moved.flat[0])))
    return {**parameters, name: moved}
