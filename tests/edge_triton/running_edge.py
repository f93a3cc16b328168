"""An edge that runs in the background of a test."""

from __future__ import annotations

import asyncio
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edge_triton.client.client import EdgeClient
from edge_triton.edge import Edge, EdgeOptions
from edge_triton.gateway.guard import Limits
from mvstylizer.bundle import Bundle


class RunningEdge:
    """An edge in its own thread and event loop."""

    def __init__(self, bundle: Path, options: EdgeOptions) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.edge = Edge(bundle, options)
        self.watch: asyncio.Task[None] | None = None

    def call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def until(self, holds: Callable[[], bool], seconds: float = 300) -> None:
        """Wait until a condition holds; fail if the edge ends by itself or the time is over."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert self.watch is not None
            assert not self.watch.done(), self.watch
            assert time.monotonic() < deadline
            time.sleep(0.02)

    async def start(self) -> None:
        await self.edge.start()
        self.watch = asyncio.create_task(self.edge.run())

    async def stop(self) -> None:
        if self.watch is not None:
            self.watch.cancel()
            await asyncio.wait([self.watch])
        await self.edge.stop(0.0)

    def close(self) -> None:
        self.call(self.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


# Tests send thousands of requests per second from one client.
UNLIMITED = Limits(rate=1e6, burst=10**6, request_timeout_s=300)


@contextmanager
def running_edge(bundle: Bundle, **options: Any) -> Iterator[RunningEdge]:
    edge = RunningEdge(bundle.path, EdgeOptions(**{"port": 0, "limits": UNLIMITED, **options}))
    try:
        edge.call(edge.start())
        yield edge
    finally:
        edge.close()


GRAY = np.full((8, 8, 3), 100, np.uint8)
CODE = np.array([0.2, 0.5, 0.8], np.float32)


def stylizes(address: str, **options: Any) -> bool:
    """Stylize a small frame without retries; return whether an image came back."""
    with EdgeClient(address, patience_s=0, timeout_s=120, **options) as client:
        return client.stylize(GRAY, CODE).image is not None


def http_get(edge: Edge, path: str, method: str = "GET") -> tuple[int, str]:
    """Return status and text of a page of the health server."""
    call = urllib.request.Request(f"http://{edge.health_address}{path}", method=method)
    try:
        with urllib.request.urlopen(call, timeout=60) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as err:
        return err.code, err.read().decode()
