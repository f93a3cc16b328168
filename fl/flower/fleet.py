"""The edges on Flower's grid: a `fl.fleet.Fleet` that also distributes releases."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import httpx
import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_utils import ObjectPushError
from numpy.typing import NDArray

from fl.fleet import EdgeUpdate
from fl.flower.run_config import RunConfig
from fl.limits import MAX_VERSION, is_edge_name, short
from fl.parameters import map_parameters

MODEL, CONFIG, UPDATE, LOSSES, RELEASE = "model", "config", "update", "losses", "release"
SERVER_ROUND = "server-round"  # Flower's own key
EPSILON = "epsilon"  # spent by an edge with differential privacy of its own
POLL_S = 1.0
TTL_DEADLINES = 3.0  # deadlines after which a reply is discarded

_LOG = logging.getLogger(__name__)
_NOT_SENT = "The message could not be sent: the edge disconnected"


class GridFleet:
    """Sends messages to SuperNodes.

    A node that has left since it was listed is reported as lost, and a request that the SuperLink cannot
    serve at the moment (its database is locked, for example) is repeated with the next poll.

    Edges are identified by the name under which the cloud registered their key, which they prove with each
    request; nothing an edge claims about itself is trusted. A node whose name is not a valid edge name is
    ignored, and a reply that cannot be read is an error of that edge alone.

    Args:
        grid: Flower's grid.
        config: Settings of the run.
    """

    def __init__(self, grid: Grid, config: RunConfig) -> None:
        self._grid = grid
        self._config = config
        self._nodes: dict[str, int] = {}
        self._pending: dict[str, tuple[str, int]] = {}  # message id → edge, round
        self._lost: list[tuple[str, int]] = []  # edge, round of messages that could not be sent
        self._ignored: set[str] = set()  # nodes without a valid name

    def edges(self) -> Sequence[str]:
        """Return the names of the edges that are online."""
        with _busy_superlink():
            nodes = {node.name or str(node.node_id): node.node_id for node in self._grid.get_nodes()}
            self._nodes = {name: node for name, node in nodes.items() if self._is_valid(name)}
        return sorted(self._nodes)

    def train(self, edge: str, server_round: int, model: Path) -> None:
        """Send the model and the run's settings to an edge."""
        parameters, header = map_parameters(model)
        arrays = {name: Array(np.asarray(value)) for name, value in parameters.items()}
        config = ConfigRecord({**self._config.as_dict(), SERVER_ROUND: server_round})
        config.update({f"header.{key}": value for key, value in header.items()})
        content = RecordDict({MODEL: ArrayRecord(arrays), CONFIG: config})
        self._send(edge, server_round, content, MessageType.TRAIN)

    def updates(self) -> Sequence[EdgeUpdate]:
        """Wait a second and return the updates received."""
        updates = [_update(reply, *request) for reply, request in self._pull()]
        return updates + [EdgeUpdate(*sent, error=_NOT_SENT, is_lost=True) for sent in self._take_lost()]

    def send_release(self, edge: str, files: Sequence[tuple[str, bytes]]) -> None:
        """Send a release to an edge; the outcome is returned by `installed`."""
        content = RecordDict({RELEASE: ConfigRecord(dict(files))})
        self._send(edge, 0, content, MessageType.QUERY)

    def installed(self) -> list[tuple[str, int, str]]:
        """Wait a second and return the replies to releases: edge, installed version or 0, error."""
        rows = []
        replies = self._pull()
        rows += [(edge, 0, _NOT_SENT) for edge, _ in self._take_lost()]
        rows += [(edge, *_installed(reply)) for reply, (edge, _) in replies]
        return rows

    def _send(self, edge: str, server_round: int, content: RecordDict, kind: str) -> None:
        ttl = self._config.deadline_s * TTL_DEADLINES
        message = Message(content, self._nodes[edge], kind, group_id=str(server_round), ttl=ttl)
        message_ids: Iterable[str] = ()
        with _busy_superlink(), contextlib.suppress(ObjectPushError):
            message_ids = self._grid.push_messages([message])
        sent = list(filter(None, message_ids))  # an empty id: the node is no longer registered
        self._pending.update({message_id: (edge, server_round) for message_id in sent})
        if not sent:
            self._lost.append((edge, server_round))

    def _pull(self) -> list[tuple[Message, tuple[str, int]]]:
        time.sleep(POLL_S)
        replies: list[Message] = []
        if self._pending:
            with _busy_superlink():
                replies = list(self._grid.pull_messages(list(self._pending)))
        requests = [self._pending.pop(reply.metadata.reply_to_message_id, None) for reply in replies]
        return [(reply, request) for reply, request in zip(replies, requests, strict=True) if request]

    def _take_lost(self) -> list[tuple[str, int]]:
        lost, self._lost = self._lost, []
        return lost

    def _is_valid(self, name: str) -> bool:
        if is_edge_name(name):
            return True
        if name not in self._ignored:
            self._ignored.add(name)
            _LOG.warning("ignored a node: %r is not a valid edge name", short(name))
        return False


def _update(reply: Message, edge: str, server_round: int) -> EdgeUpdate:
    """Return the update in a reply, or why there is none."""
    if reply.has_error():
        is_lost = reply.error.code == ErrorCode.NODE_UNAVAILABLE
        return EdgeUpdate(edge, server_round, error=_reason(reply), is_lost=is_lost)
    try:
        content = reply.content
        update = content.config_records[UPDATE]
        parameters = {name: _values(array) for name, array in content.array_records[MODEL].items()}
        losses = {name: float(str(value)) for name, value in content.metric_records[LOSSES].items()}
        frames, sha256 = int(str(update["frames"])), str(update["sha256"])
        epsilon = float(str(update.get(EPSILON, 0.0)))
    except Exception as err:  # whatever one edge sends must not end the round
        reason = short(f"Unreadable update: {type(err).__name__}: {err}")
        return EdgeUpdate(edge, server_round, error=reason)
    return EdgeUpdate(edge, server_round, parameters, frames, losses, sha256, epsilon=epsilon)


def _installed(reply: Message) -> tuple[int, str]:
    """Return the version that an edge installed, or 0 and the reason."""
    if reply.has_error():
        return 0, _reason(reply)
    try:
        version = int(str(reply.content.config_records[RELEASE]["version"]))
        if not 0 < version <= MAX_VERSION:
            raise ValueError("the version is out of range")
        return version, ""
    except Exception as err:  # as above
        return 0, short(f"Unreadable reply: {type(err).__name__}: {err}")


def _reason(reply: Message) -> str:
    return short(reply.error.reason or f"error {reply.error.code}")


def _values(array: Array) -> NDArray[np.float32]:
    """Return a tensor.

    Raises:
        ValueError: The content is an archive of arrays, which is not read.
    """
    values = array.numpy()
    if not isinstance(values, np.ndarray):
        raise ValueError("an archive instead of an array")
    return values


@contextlib.contextmanager
def _busy_superlink() -> Iterator[None]:
    """Ignore a server error of the SuperLink, which ends neither the run nor the round."""
    try:
        yield
    except httpx.HTTPStatusError as err:
        if not err.response.is_server_error:
            raise
