"""Limits the open connections of one address and of strangers.

gRPC limits connections in total only, so a thousand connections from one address would keep everybody else
out. Every server socket is an open file of this process: a thread counts them by peer, and shuts down those
that are too many.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import unquote

_LOG = logging.getLogger(__name__)
_FILES = Path("/proc/self/fd")
_POLL_S = 0.2
_IPV6_NETWORK_BITS = 64  # one customer's own
_T = TypeVar("_T")
Peer = tuple[str, int]
"""Address and port of the client's end."""


class _Connection(NamedTuple):
    is_known: bool
    since: float
    peer: Peer
    handle: int


class ConnectionLimit:
    """Shuts down surplus connections to a port, in a thread of its own.

    Those that have not made an admitted call go first, the oldest first: a good client calls as soon as it is
    connected, and an attacker without a token never does.

    Args:
        total: Open connections; above three quarters of them, those without an admitted call are shut down.
        per_address: Open connections of one address (of one /64 network for IPv6) without an admitted call.
            In all an address may have half of the total, because a load balancer is one address.
    """

    def __init__(self, total: int, per_address: int) -> None:
        self._max_strangers = total * 3 // 4
        self._max_of_address = total // 2
        self._per_address = per_address
        self._since: dict[Peer, float] = {}
        self._known: set[Peer] = set()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, port: int) -> None:
        """Watch the connections to a port of this process."""
        self._thread = threading.Thread(target=self._run, args=(port,), name="connections", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def admit(self, peer: str) -> None:
        """Record that a call of a connection was admitted.

        Args:
            peer: gRPC's name of the connection, such as ``ipv4:192.0.2.7:4711``.
        """
        host, _, port = unquote(peer).partition(":")[2].rpartition(":")
        if port.isdecimal():
            with self._lock:
                self._known.add((_plain(host), int(port)))

    def _run(self, port: int) -> None:
        while not self._over.wait(_POLL_S):
            try:
                self._sweep(port)
            except OSError as err:  # no file descriptor left, for example: the next sweep may work
                _LOG.warning("connections cannot be counted: %s", err)

    def _sweep(self, port: int) -> None:
        """Shut down the surplus of this moment."""
        for connection in self._surplus(self._open(port)):
            _with_socket(connection.handle, partial(_shut_down, peer=connection.peer, port=port))

    def _open(self, port: int) -> list[_Connection]:
        """Return the connections to a port."""
        now, found = time.monotonic(), {}
        for name in os.listdir(_FILES):
            peer = _with_socket(int(name), partial(_peer, port=port))
            if peer is not None:
                found[peer] = int(name)
        with self._lock:
            self._since = {peer: self._since.get(peer, now) for peer in found}
            self._known &= found.keys()
            return [_Connection(p in self._known, self._since[p], p, handle) for p, handle in found.items()]

    def _surplus(self, connections: list[_Connection]) -> list[_Connection]:
        """Return the connections to shut down."""
        groups, surplus, strangers = defaultdict(list), [], []
        for connection in sorted(connections, key=lambda each: (each.is_known, each.since)):
            groups[_network(connection.peer[0])].append(connection)
        for group in groups.values():
            unknown = sum(not each.is_known for each in group)
            more = max(0, unknown - self._per_address, len(group) - self._max_of_address)
            surplus += group[:more]
            strangers += [each for each in group[more:] if not each.is_known]
        more = max(0, len(connections) - len(surplus) - self._max_strangers)
        return surplus + sorted(strangers, key=lambda each: each.since)[:more]


def _with_socket(handle: int, use: Callable[[socket.socket], _T]) -> _T | None:
    """Use a file of this process as a socket without owning it; None if it is not one, or not any more."""
    try:
        end = socket.socket(fileno=handle)
    except OSError:
        return None
    try:
        return use(end)
    except OSError:
        return None
    finally:
        end.detach()


def _peer(end: socket.socket, port: int) -> Peer | None:
    """Return the client's end of a connection to a port of ours; None for any other socket."""
    if end.family not in (socket.AF_INET, socket.AF_INET6) or end.getsockname()[1] != port:
        return None
    host, number = end.getpeername()[:2]
    return _plain(str(host)), int(number)


def _plain(host: str) -> str:
    """Return an address in one form: gRPC listens for IPv4 on an IPv6 socket, which sees ``::ffff:…``."""
    return host.strip("[]").removeprefix("::ffff:")


def _shut_down(end: socket.socket, peer: Peer, port: int) -> None:
    """Shut a connection down, unless its file has become another; gRPC notices, and closes it."""
    if _peer(end, port) == peer:
        end.shutdown(socket.SHUT_RDWR)


def _network(host: str) -> str:
    """Return what counts as one address."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        return host
    return str(ipaddress.ip_network((address, _IPV6_NETWORK_BITS), strict=False))
