"""Send a key frame and its reply over TCP and time both.

Both ends run in one process and share one clock, so the upload time is measured directly instead of being
estimated as half a round trip.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

_HEADER: Final = struct.Struct("<QQ")  # bytes sent, bytes expected back
_ARRIVED: Final = struct.Struct("<d")  # the server's clock when the last byte arrived
_CONGESTION: Final = b"cubic"
_TIMEOUT_S: Final = 60.0


class ExchangeTimes(NamedTuple):
    """Seconds until the last byte of the upload and of the reply arrived."""

    up: float
    there_and_back: float


class Exchange:
    """A client of `Server`, over a new or a persistent connection.

    Args:
        connect: Opens a connection.
    """

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self._connect = connect
        self._connection: socket.socket | None = None

    def cold(self, up: int, down: int) -> ExchangeTimes:
        """Exchange over a new connection; the time includes opening it."""
        began = time.perf_counter()
        with self._connect() as connection:
            return _exchange(connection, up, down, began)

    def warm(self, up: int, down: int) -> ExchangeTimes:
        """Exchange over the persistent connection; the first call opens it."""
        if self._connection is None:
            self._connection = self._connect()
        return _exchange(self._connection, up, down, time.perf_counter())

    def close(self) -> None:
        """Close the persistent connection."""
        if self._connection is not None:
            self._connection.close()


class Server:
    """Receives uploads and sends replies of the requested size until it is closed.

    Args:
        listener: A listening socket; each connection is served by its own thread.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop accepting connections and close the open ones."""
        # Closing alone would leave threads blocked in `accept` and `recv`.
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
    """Return a listening socket on a free port; `window` limits the bytes in flight of its connections."""
    listener = _socket(window)
    listener.bind((address, 0))
    listener.listen()
    return listener


def connect(address: tuple[str, int], window: int | None) -> socket.socket:
    """Return a connection to `address`."""
    connection = _socket(window)
    connection.settimeout(_TIMEOUT_S)
    connection.connect(address)
    return connection


def _socket(window: int | None) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _CONGESTION)
    if window is not None:  # must be set before connecting; Linux doubles it for its own bookkeeping
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    return made


def _exchange(connection: socket.socket, up: int, down: int, began: float) -> ExchangeTimes:
    connection.sendall(_HEADER.pack(up, down) + bytes(up))
    (arrived,) = _ARRIVED.unpack(_read(connection, _ARRIVED.size))
    _read(connection, down)
    return ExchangeTimes(arrived - began, time.perf_counter() - began)


def _serve(connection: socket.socket) -> None:
    with connection:
        try:
            while True:
                up, down = _HEADER.unpack(_read(connection, _HEADER.size))
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
