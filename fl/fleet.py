"""The interface between rounds and edges: a fleet trains a model and returns one update per edge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fl.parameters import Parameters


@dataclass(frozen=True)
class EdgeUpdate:
    """The result of one edge's local training, or the reason why it failed.

    Attributes:
        edge: Name of the edge.
        server_round: Round whose model it was trained on.
        parameters: Retrained parameters; None if training failed.
        frames: Number of frames it was trained on.
        losses: Mean value of each loss.
        sha256: Fingerprint computed by the edge.
        epsilon: Privacy spent by the edge so far (`fl.edge_privacy`); 0 if it adds no noise itself.
        error: Reason for the failure.
        is_lost: The edge disconnected before it replied; it is asked again once it is back.
    """

    edge: str
    server_round: int
    parameters: Parameters | None = None
    frames: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    sha256: str = ""
    epsilon: float = 0.0
    error: str = ""
    is_lost: bool = False


class Fleet(Protocol):
    """The edges, independent of the transport."""

    def edges(self) -> Sequence[str]:
        """Return the names of the edges that are online."""

    def train(self, edge: str, server_round: int, model: Path) -> None:
        """Start training a model on an edge; the result is returned by `updates`."""

    def updates(self) -> Sequence[EdgeUpdate]:
        """Return the updates received since the last call; may block briefly."""
