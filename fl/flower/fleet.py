"""The edges behind Flower's grid, as `fl.rounds.Fleet` and for releases."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from fl.flower.order import Order
from fl.parameters import map_parameters
from fl.rounds import Answer

MODEL, ORDER, UPDATE, LOSSES, RELEASE = "model", "order", "update", "losses", "release"
POLL_S = 1.0
LATE = 3.0  # deadlines after which an answer is not waited for at all


class GridFleet:
    """Asks SuperNodes by messages.

    An edge is known by the name under which the cloud registered its key, which it proves with each request:
    nothing that it says of itself counts.

    Args:
        grid: Flower's grid.
        order: What each edge is to do.
    """

    def __init__(self, grid: Grid, order: Order) -> None:
        self._grid = grid
        self._order = order
        self._nodes: dict[str, int] = {}
        self._open: dict[str, tuple[str, int]] = {}  # message → edge, round

    def edges(self) -> Sequence[str]:
        """Return the names of the edges that are online."""
        self._nodes = {node.name or str(node.node_id): node.node_id for node in self._grid.get_nodes()}
        return sorted(self._nodes)

    def ask(self, edge: str, turn: int, model: Path) -> None:
        """Send the model and the order to an edge."""
        parameters, header = map_parameters(model)
        arrays = {name: Array(np.asarray(value)) for name, value in parameters.items()}
        order = ConfigRecord({**self._order.as_dict(), "turn": turn})
        order.update({f"header.{key}": value for key, value in header.items()})
        content = RecordDict({MODEL: ArrayRecord(arrays), ORDER: order})
        self._send(edge, turn, content, MessageType.TRAIN)

    def answers(self) -> Sequence[Answer]:
        """Return what came in the last second."""
        return [self._answer(reply, *question) for reply, question in self._pull()]

    def release(self, edge: str, files: Sequence[tuple[str, bytes]]) -> None:
        """Send a release to an edge; it answers by `released`."""
        content = RecordDict({RELEASE: ConfigRecord(dict(files))})
        self._send(edge, 0, content, MessageType.QUERY)

    def released(self) -> list[tuple[str, int, str]]:
        """Return who answered to a release in the last second: edge, its version or 0, error."""
        rows = []
        for reply, (edge, _) in self._pull():
            if reply.has_error():
                rows.append((edge, 0, reply.error.reason or f"error {reply.error.code}"))
            else:
                rows.append((edge, int(str(reply.content.config_records[RELEASE]["version"])), ""))
        return rows

    def _send(self, edge: str, turn: int, content: RecordDict, kind: str) -> None:
        ttl = self._order.deadline_s * LATE
        message = Message(content, self._nodes[edge], kind, group_id=str(turn), ttl=ttl)
        for number in self._grid.push_messages([message]):
            self._open[number] = (edge, turn)

    def _pull(self) -> list[tuple[Message, tuple[str, int]]]:
        time.sleep(POLL_S)
        replies = list(self._grid.pull_messages(list(self._open))) if self._open else []
        return [(reply, self._open.pop(reply.metadata.reply_to_message_id)) for reply in replies]

    def _answer(self, reply: Message, edge: str, turn: int) -> Answer:
        if reply.has_error():
            error = reply.error
            said = error.reason or f"error {error.code}"
            return Answer(edge, turn, error=said, is_lost=error.code == ErrorCode.NODE_UNAVAILABLE)
        try:
            content = reply.content
            update = content.config_records[UPDATE]
            parameters = {name: array.numpy() for name, array in content.array_records[MODEL].items()}
            losses = {name: float(str(value)) for name, value in content.metric_records[LOSSES].items()}
            frames, sha256 = int(str(update["frames"])), str(update["sha256"])
        except (KeyError, TypeError, ValueError, EOFError) as err:
            return Answer(edge, turn, error=f"It cannot be read: {type(err).__name__}: {err}")
        return Answer(edge, turn, parameters, frames, losses, sha256)
