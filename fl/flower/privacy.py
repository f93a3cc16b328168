"""Central differential privacy: Flower's wrapper clips each update and adds noise to the mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp.strategy import DifferentialPrivacyServerSideFixedClipping, FedAvg
from numpy.typing import NDArray

from fl.average import distance
from fl.edge_privacy import epsilon
from fl.parameters import Parameters

_WEIGHT = "weight"


@dataclass(frozen=True)
class GaussianMechanism:
    """The Gaussian mechanism at edge level (McMahan et al. 2018), a `fl.round_config.PrivateAggregator`.

    All edges have equal weight: an edge that could choose its weight could stand out from the noise.

    Attributes:
        noise: Noise multiplier, positive: the mean of n updates gets noise of noise · clip / n.
        clip: Maximum L2 norm of an update; longer ones are scaled down to it.
    """

    noise: float
    clip: float

    def __post_init__(self) -> None:
        if not (self.noise > 0 and self.clip > 0):
            raise ValueError(f"noise and clip must be positive, not {self.noise} and {self.clip}")

    def average(self, base: Parameters, updates: Sequence[Parameters]) -> dict[str, NDArray[np.float32]]:
        """Return the noisy mean of the clipped updates.

        Args:
            base: The model at the start of the round.
            updates: Parameters from each edge, already checked against `base`.
        """
        strategy = DifferentialPrivacyServerSideFixedClipping(
            FedAvg(weighted_by_key=_WEIGHT), self.noise, self.clip, len(updates)
        )
        strategy.current_arrays = _record(base)
        arrays, _ = strategy.aggregate_train(0, [_reply(update, base) for update in updates])
        assert arrays is not None  # only without replies
        return {name: array.numpy().astype(np.float32) for name, array in arrays.items()}

    def epsilon(self, releases: int) -> float:
        """Return epsilon at `fl.edge_privacy.DELTA` after a number of averages (Mironov 2017)."""
        return epsilon(releases / (2 * self.noise**2))


def _record(parameters: Parameters) -> ArrayRecord:
    # Flower clips in place and matches arrays by order; ours are read-only memory maps.
    return ArrayRecord({name: Array(np.array(parameters[name])) for name in sorted(parameters)})


def _reply(update: Parameters, base: Parameters) -> Message:
    if distance(update, base) == 0:
        update = _nudged(update)
    content = RecordDict({"model": _record(update), "metrics": MetricRecord({_WEIGHT: 1.0})})
    return Message(content, dst_node_id=0, message_type=MessageType.TRAIN)


def _nudged(parameters: Parameters) -> dict[str, NDArray[np.float32]]:
    """Change one value by a millionth: Flower divides by the norm of the update, even if it is zero."""
    name = min(name for name, value in parameters.items() if value.size)
    nudged = np.array(parameters[name])
    nudged.flat[0] += 1e-6 * max(1.0, abs(float(nudged.flat[0])))
    return {**parameters, name: nudged}
