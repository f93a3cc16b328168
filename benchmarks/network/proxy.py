"""A TCP proxy on loopback that emulates a slow link without root.

Each direction models a TCP sender: the bytes in flight (acknowledged one round trip after they were sent) and
the congestion window, which starts at ten segments, grows by the acknowledged bytes (slow start) and stops at
the link's window. No packets are lost, so congestion avoidance and retransmission are not modeled.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final

from benchmarks.network.exchange import Exchange, Server, connect, listen
from benchmarks.network.link import Link

LOOPBACK: Final = "127.0.0.1"
SEGMENT: Final = 1448
INITIAL_WINDOW: Final = 10 * SEGMENT  # RFC 6928
MAX_WINDOW: Final = 6 << 20  # Linux's maximum, for links that set no window


@contextmanager
def over(link: Link) -> Iterator[Exchange]:
    """Yield an exchange through the proxy."""
    listener = listen(LOOPBACK, None)
    server = Server(listener)
    try:
        with _proxy(link, int(listener.getsockname()[1])) as port:
            exchange = Exchange(lambda: connect((LOOPBACK, port), None))
            try:
                yield exchange
            finally:
                exchange.close()
    finally:
        server.close()


@contextmanager
def _proxy(link: Link, server_port: int) -> Iterator[int]:
    """Run the proxy in a thread with its own event loop and yield its port."""
    loop, ready = asyncio.new_event_loop(), threading.Event()
    ports: list[int] = []

    async def open_proxy() -> None:
        proxy = await asyncio.start_server(
            lambda reader, writer: _forward(reader, writer, link, server_port), LOOPBACK, 0, limit=SEGMENT
        )
        ports.append(int(proxy.sockets[0].getsockname()[1]))
        ready.set()

    thread = threading.Thread(target=_run_loop, args=(loop, open_proxy()), daemon=True)
    thread.start()
    ready.wait()
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def _run_loop(loop: asyncio.AbstractEventLoop, first: Coroutine[Any, Any, None]) -> None:
    """Run an event loop until it is stopped, then cancel its remaining tasks."""
    opening = loop.create_task(first)
    loop.run_forever()
    opening.result()
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: Link, port: int) -> None:
    """Forward one connection: the handshake takes a round trip, then each direction has its own sender."""
    await asyncio.sleep(link.round_trip_s)
    far_reader, far_writer = await asyncio.open_connection(LOOPBACK, port, limit=SEGMENT)
    await asyncio.gather(_Sender(link).run(reader, far_writer), _Sender(link).run(far_reader, writer))


class _Sender:
    """One direction of a connection."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._max_window = link.window or MAX_WINDOW
        self._window = min(INITIAL_WINDOW, self._max_window)
        self._unacknowledged: deque[tuple[float, int]] = deque()  # when each acknowledgement arrives, bytes
        self._in_flight = 0
        self._free_at = 0.0  # when the line is free again

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward until the sending side closes."""
        loop = asyncio.get_running_loop()
        try:
            while data := await reader.read(SEGMENT):
                await self._wait_for_window(len(data))
                self._free_at = max(time.monotonic(), self._free_at) + 8 * len(data) / self._link.rate
                arrival = self._free_at + self._link.round_trip_s / 2
                self._unacknowledged.append((arrival + self._link.round_trip_s / 2, len(data)))
                self._in_flight += len(data)
                loop.call_later(arrival - time.monotonic(), writer.write, data)
            await asyncio.sleep(self._free_at + self._link.round_trip_s / 2 - time.monotonic())
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def _wait_for_window(self, size: int) -> None:
        """Wait until the window has room for `size` more bytes."""
        while True:
            while self._unacknowledged and self._unacknowledged[0][0] <= time.monotonic():
                acknowledged = self._unacknowledged.popleft()[1]
                self._in_flight -= acknowledged
                self._window = min(self._window + acknowledged, self._max_window)
            if self._in_flight + size <= self._window:
                return
            await asyncio.sleep(max(0.0, self._unacknowledged[0][0] - time.monotonic()))
