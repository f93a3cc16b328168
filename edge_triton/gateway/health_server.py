"""A minimal HTTP server: ``/healthz`` for load balancers and containers, ``/metrics`` for Prometheus."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

from edge_triton.triton.startup_errors import PortTakenError

_READ_TIMEOUT_S = 5.0
_MAX_HEAD_BYTES = 8192
_MAX_CONNECTIONS = 32
_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}

Page = tuple[int, str, str]
"""Status, content type, text."""


class HealthServer:
    """Answers GET and HEAD on two paths, one request per connection. Belongs to one event loop.

    Args:
        health: Returns whether the edge is ready, and the facts to report.
        metrics: Returns the text for Prometheus.
    """

    def __init__(
        self, health: Callable[[], tuple[bool, dict[str, Any]]], metrics: Callable[[], Awaitable[str]]
    ) -> None:
        self._health = health
        self._metrics = metrics
        self._open = 0
        self._server: asyncio.Server | None = None

    async def listen(self, host: str, port: int) -> int:
        """Start to listen and return the port; `port` 0 picks a free one.

        Raises:
            PortTakenError: The port cannot be used.
        """
        try:
            self._server = await asyncio.start_server(self._serve, host, port, limit=_MAX_HEAD_BYTES)
        except OSError as err:
            raise PortTakenError(
                f"Port {port} for /healthz cannot be used on {host}", "Choose another with --health HOST:PORT"
            ) from err
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            with contextlib.suppress(
                TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError
            ):
                if self._open <= _MAX_CONNECTIONS:
                    async with asyncio.timeout(_READ_TIMEOUT_S):
                        head = await reader.readuntil(b"\r\n\r\n")
                        writer.write(await self._response(head))
                        await writer.drain()
        finally:
            self._open -= 1
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
