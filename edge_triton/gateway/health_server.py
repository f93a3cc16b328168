"""A minimal HTTP server: ``/healthz`` for load balancers and containers, ``/metrics`` for Prometheus.

It has a thread and an event loop of its own, so that it answers however busy the gateway is.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from edge_triton.triton.startup_errors import PortTakenError

_READ_TIMEOUT_S = 3.0
_MAX_HEAD_BYTES = 8192
_MAX_WAITING = 1024  # beyond these the system drops some, and a client repeats after seconds
_MAX_ACCEPTED = 32  # at once; asyncio opens so many files before it runs anything else
_MAX_CONNECTIONS = 128
_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}

_T = TypeVar("_T")
Page = tuple[int, str, str]
"""Status, content type, text."""


class HealthServer:
    """Answers GET and HEAD on two paths, one request per connection, in a thread of its own.

    If too many connections are open, the one that has been silent longest is closed.

    Args:
        health: Returns whether the edge is ready, and the facts to report; called in this server's thread.
        metrics: Returns the text for Prometheus; called in this server's thread.
    """

    def __init__(
        self, health: Callable[[], tuple[bool, dict[str, Any]]], metrics: Callable[[], Awaitable[str]]
    ) -> None:
        self._health = health
        self._metrics = metrics
        self._silent: dict[asyncio.StreamWriter, None] = {}  # the oldest first
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._server: asyncio.Server | None = None

    async def listen(self, host: str, port: int) -> int:
        """Start to listen and return the port; `port` 0 picks a free one.

        Raises:
            PortTakenError: The port cannot be used.
        """
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="health", daemon=True)
        self._thread.start()
        starting = asyncio.start_server(self._serve, host, port, limit=_MAX_HEAD_BYTES, backlog=_MAX_ACCEPTED)
        try:
            self._server = await self._in_thread(starting)
        except OSError as err:
            raise PortTakenError(
                f"Port {port} for /healthz cannot be used on {host}", "Choose another with --health HOST:PORT"
            ) from err
        for listener in self._server.sockets:
            with socket.socket(fileno=os.dup(listener.fileno())) as same:
                same.listen(_MAX_WAITING)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening, and end the thread."""
        loop, thread = self._loop, self._thread
        if loop is not None and thread is not None:
            await self._in_thread(self._stop_listening())
            loop.call_soon_threadsafe(loop.stop)
            await asyncio.to_thread(thread.join)
            loop.close()
            self._loop = self._thread = None

    async def _in_thread(self, work: Coroutine[Any, Any, _T]) -> _T:
        assert self._loop is not None
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.get_running_loop().shutdown_default_executor()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._silent) >= _MAX_CONNECTIONS:
            oldest = next(iter(self._silent))
            del self._silent[oldest]
            oldest.transport.abort()
        self._silent[writer] = None
        try:
            with contextlib.suppress(
                TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError
            ):
                async with asyncio.timeout(_READ_TIMEOUT_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                self._silent.pop(writer, None)
                response = await self._response(head)
                async with asyncio.timeout(_READ_TIMEOUT_S):
                    writer.write(response)
                    await writer.drain()
        finally:
            self._silent.pop(writer, None)
            writer.close()

    async def _response(self, head: bytes) -> bytes:
        method, path, *_ = [*head.partition(b"\r\n")[0].decode("latin-1").split(" "), "", ""]
        status, content_type, text = await self._page(method, path.partition("?")[0])
        body = text.encode()
        lines = (
            f"HTTP/1.1 {status} {_REASONS[status]}",
            f"Content-Type: {content_type}",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "Connection: close",
        )
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if method == "HEAD" else body)

    async def _page(self, method: str, path: str) -> Page:
        if method not in ("GET", "HEAD"):
            return 405, "text/plain", "Use GET or HEAD\n"
        if path == "/healthz":
            ready, facts = self._health()
            return (200 if ready else 503), "application/json", json.dumps(facts) + "\n"
        if path == "/metrics":
            return 200, "text/plain; version=0.0.4; charset=utf-8", await self._metrics()
        return 404, "text/plain", "Not found; try /healthz or /metrics\n"
