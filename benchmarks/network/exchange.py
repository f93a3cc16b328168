"""One key frame over TCP: so many bytes up, so many back, and when the last byte was where.

Both ends are in one process and read one clock: the time up is measured, not taken as half a round trip.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

_ORDER: Final = struct.Struct("<QQ")  # bytes up, bytes wanted back
_ARRIVED: Final = struct.Struct("<d")  # the server's clock when the last byte was there
_CONGESTION: Final = b"cubic"
_TIMEOUT_S: Final = 60.0


class Times(NamedTuple):
    """Seconds of one exchange: until the last byte is up, and until the last byte of the reply is back."""

    up: float
    there_and_back: float


class Exchange:
    """A client of a `Server`, on a new connection or on one that is kept.

    Args:
        connect: Opens a connection.
    """

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self._connect = connect
        self._kept: socket.socket | None = None

    def cold(self, up: int, down: int) -> Times:
        """Exchange over a new connection; opening it counts."""
        began = time.perf_counter()
        with self._connect() as connection:
            return _exchange(connection, up, down, began)

    def warm(self, up: int, down: int) -> Times:
        """Exchange over the kept connection; the first call opens it."""
        if self._kept is None:
            self._kept = self._connect()
        return _exchange(self._kept, up, down, time.perf_counter())

    def close(self) -> None:
        """Close the kept connection."""
        if self._kept is not None:
            self._kept.close()


class Server:
    """Takes what comes and sends back what is asked for, until it is closed.

    Args:
        listener: A listening socket; each connection gets a thread of its own.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections, and end those that are there."""
        # Closing alone would leave threads waiting in `accept` and `recv`.
        for each in (self._listener, *self._connections):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=_serve, args=(connection,), daemon=True).start()


def listen(address: str, window: int | None) -> socket.socket:
    """Return a listening socket on a free port; `window` is what its connections let be under way."""
    listener = _socket(window)
    listener.bind((address, 0))
    listener.listen()
    return listener


def connect(address: tuple[str, int], window: int | None) -> socket.socket:
    """Return a connection."""
    connection = _socket(window)
    connection.settimeout(_TIMEOUT_S)
    connection.connect(address)
    return connection


def _socket(window: int | None) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _CONGESTION)
    if window is not None:  # must be set before the connection is made; Linux takes as much again for itself
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    return made


def _exchange(connection: socket.socket, up: int, down: int, began: float) -> Times:
    connection.sendall(_ORDER.pack(up, down) + bytes(up))
    (arrived,) = _ARRIVED.unpack(_read(connection, _ARRIVED.size))
    _read(connection, down)
    return Times(arrived - began, time.perf_counter() - began)


def _serve(connection: socket.socket) -> None:
    with connection:
        try:
            while True:
                up, down = _ORDER.unpack(_read(connection, _ORDER.size))
                _read(connection, up)
                connection.sendall(_ARRIVED.pack(time.perf_counter()) + bytes(down))
        except (EOFError, OSError):
            return


def _read(connection: socket.socket, size: int) -> bytes:
    data = bytearray(size)
    view, have = memoryview(data), 0
    while have < size:
        got = connection.recv_into(view[have:])
        if not got:
            raise EOFError
        have += got
    return bytes(data)
