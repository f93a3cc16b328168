"""FedAdam as a server optimizer: one step of Flower's strategy; its moments are stored next to the model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAdam
from numpy.typing import NDArray

from fl.parameters import Parameters

BETA_1, BETA_2, ADAPTIVITY = 0.9, 0.99, 1e-3  # from the paper (Reddi et al. 2021)
_WEIGHT = "weight"


@dataclass(frozen=True)
class ServerAdam:
    """A `fl.round_config.ServerOptimizer` that uses the average as a gradient direction.

    Attributes:
        learning_rate: Server learning rate, positive.
    """

    learning_rate: float

    def __post_init__(self) -> None:
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, not {self.learning_rate}")

    def step(
        self, base: Parameters, average: Parameters, moments: Parameters, server_round: int
    ) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
        """Return the next model and its moments, see `fl.round_config.ServerOptimizer.step`."""
        strategy = FedAdam(
            weighted_by_key=_WEIGHT, eta=self.learning_rate, beta_1=BETA_1, beta_2=BETA_2, tau=ADAPTIVITY
        )
        strategy.current_arrays = dict(base)
        strategy.m_t, strategy.v_t = _with_prefix(moments, "m."), _with_prefix(moments, "v.")
        arrays, _ = strategy.aggregate_train(server_round, [_reply(average)])
        assert arrays is not None  # only without replies
        after = {f"m.{name}": value for name, value in strategy.m_t.items()}
        after |= {f"v.{name}": value for name, value in strategy.v_t.items()}
        return _as_float32({name: array.numpy() for name, array in arrays.items()}), _as_float32(after)


def _with_prefix(moments: Parameters, prefix: str) -> dict[str, NDArray[np.float32]]:
    """Return one kind of moments by parameter name; empty before the first step."""
    return {name.removeprefix(prefix): value for name, value in moments.items() if name.startswith(prefix)}


def _as_float32(values: Parameters) -> dict[str, NDArray[np.float32]]:
    return {name: value.astype(np.float32) for name, value in values.items()}


def _reply(average: Parameters) -> Message:
    """Wrap the average, already clipped and trimmed, as the reply of a single edge."""
    arrays = ArrayRecord({name: Array(np.asarray(value)) for name, value in average.items()})
    content = RecordDict({"arrays": arrays, "metrics": MetricRecord({_WEIGHT: 1.0})})
    return Message(content, dst_node_id=0, message_type=MessageType.TRAIN)
