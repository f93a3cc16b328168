"""FedAdam: Flower's own strategy takes the step; its moments lie beside the model that it made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAdam
from numpy.typing import NDArray

from fl.parameters import Parameters

BETA_1, BETA_2, ADAPTIVITY = 0.9, 0.99, 1e-3  # those of its paper (Reddi et al. 2021)
_WEIGHT = "weight"


@dataclass(frozen=True)
class Adam:
    """The average is a direction, not the model; see `fl.rounds.ServerStep`.

    Attributes:
        rate: Server learning rate, above 0.
    """

    rate: float

    def __post_init__(self) -> None:
        if not self.rate > 0:
            raise ValueError(f"rate {self.rate} must be above 0")

    def step(
        self, base: Parameters, average: Parameters, moments: Parameters, turn: int
    ) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
        """Return the next model and its moments; see `fl.rounds.ServerStep.step`."""
        strategy = FedAdam(
            weighted_by_key=_WEIGHT, eta=self.rate, beta_1=BETA_1, beta_2=BETA_2, tau=ADAPTIVITY
        )
        strategy.current_arrays = dict(base)
        strategy.m_t, strategy.v_t = _of(moments, "m."), _of(moments, "v.")
        arrays, _ = strategy.aggregate_train(turn, [_reply(average)])
        assert arrays is not None  # only without replies
        after = {f"m.{name}": value for name, value in strategy.m_t.items()}
        after |= {f"v.{name}": value for name, value in strategy.v_t.items()}
        return _single({name: array.numpy() for name, array in arrays.items()}), _single(after)


def _of(moments: Parameters, prefix: str) -> dict[str, NDArray[np.float32]]:
    """Return one kind of moments by the parameters' names; none where there are none yet."""
    return {name.removeprefix(prefix): value for name, value in moments.items() if name.startswith(prefix)}


def _single(values: Parameters) -> dict[str, NDArray[np.float32]]:
    return {name: value.astype(np.float32) for name, value in values.items()}


def _reply(average: Parameters) -> Message:
    """Give the average, clipped and trimmed already, as the one edge's answer."""
    arrays = ArrayRecord({name: Array(np.asarray(value)) for name, value in average.items()})
    content = RecordDict({"arrays": arrays, "metrics": MetricRecord({_WEIGHT: 1.0})})
    return Message(content, dst_node_id=0, message_type=MessageType.TRAIN)
