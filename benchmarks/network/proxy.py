"""A TCP proxy on loopback that behaves like a far path; no root needed.

Each direction keeps what a sender of TCP keeps: how many bytes are under way (until their acknowledgement, a
round trip after they left), and how many may be: it begins with ten segments, grows by what is acknowledged
(slow start) and ends at the window. Nothing is lost, so nothing else shows here that loss would.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from benchmarks.network.exchange import Exchange, Server, connect, listen

if TYPE_CHECKING:
    from benchmarks.network.path import Path

LOOPBACK: Final = "127.0.0.1"
SEGMENT: Final = 1448
FIRST_WINDOW: Final = 10 * SEGMENT  # RFC 6928
LARGEST_WINDOW: Final = 6 << 20  # Linux's, where the path sets none


@contextmanager
def over(path: Path) -> Iterator[Exchange]:
    """Give an exchange through the proxy."""
    listener = listen(LOOPBACK, None)
    server = Server(listener)
    loop, ready = asyncio.new_event_loop(), threading.Event()
    ports: list[int] = []

    async def open_proxy() -> None:
        proxy = await asyncio.start_server(
            lambda reader, writer: _carry(reader, writer, path, int(listener.getsockname()[1])),
            LOOPBACK,
            0,
            limit=SEGMENT,
        )
        ports.append(int(proxy.sockets[0].getsockname()[1]))
        ready.set()

    def run() -> None:
        loop.create_task(open_proxy())
        loop.run_forever()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait()
    exchange = Exchange(lambda: connect((LOOPBACK, ports[0]), None))
    try:
        yield exchange
    finally:
        exchange.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: Path, port: int) -> None:
    """Carry one connection: the handshake takes a round trip, then each direction has its own sender."""
    await asyncio.sleep(path.round_trip_s)
    far_reader, far_writer = await asyncio.open_connection(LOOPBACK, port, limit=SEGMENT)
    await asyncio.gather(_Sender(path).run(reader, far_writer), _Sender(path).run(far_reader, writer))


class _Sender:
    """One direction."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._most = path.window or LARGEST_WINDOW
        self._window = min(FIRST_WINDOW, self._most)
        self._unacknowledged: deque[tuple[float, int]] = deque()  # when each piece's comes back, its size
        self._under_way = 0
        self._free = 0.0  # when the line is free again

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry until the sending side closes."""
        loop = asyncio.get_running_loop()
        try:
            while data := await reader.read(SEGMENT):
                await self._room(len(data))
                self._free = max(time.monotonic(), self._free) + 8 * len(data) / self._path.rate
                arrival = self._free + self._path.round_trip_s / 2
                self._unacknowledged.append((arrival + self._path.round_trip_s / 2, len(data)))
                self._under_way += len(data)
                loop.call_later(arrival - time.monotonic(), writer.write, data)
            await asyncio.sleep(self._free + self._path.round_trip_s / 2 - time.monotonic())
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def _room(self, size: int) -> None:
        """Wait until so many more bytes may be under way."""
        while True:
            while self._unacknowledged and self._unacknowledged[0][0] <= time.monotonic():
                acknowledged = self._unacknowledged.popleft()[1]
                self._under_way -= acknowledged
                self._window = min(self._window + acknowledged, self._most)
            if self._under_way + size <= self._window:
                return
            await asyncio.sleep(max(0.0, self._unacknowledged[0][0] - time.monotonic()))
