"""Admission of gRPC calls: token, rate, concurrency, and time limits.

Before a message's body is read, the caller has sent a valid token, is within its rate and holds one of a
limited number of slots. All methods are registered as client-streaming ones, which look the same on the wire:
only then can a server inspect the headers first and abort a body that arrives too slowly.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc

from edge_triton.client.trace import TRACEPARENT, continued, trace_id_of
from edge_triton.gateway.admission import ConcurrencyLimit, RateLimit, Tokens, certificate_name, peer_host
from edge_triton.gateway.call import Call
from edge_triton.gateway.connections import ConnectionLimit
from edge_triton.gateway.message import malformed
from edge_triton.gateway.status_error import StatusError
from edge_triton.gateway.work_pool import WorkPool
from edge_triton.metrics import Metrics
from edge_triton.triton.repository import MODELS

Method = Callable[[Any, Call], Awaitable[Any]]
"""Takes a request message and who sent it, returns the response message."""

_LOG = logging.getLogger(__name__)
_ACCESS = logging.getLogger("edge_triton.access")
_MIN_THREAD_BYTES = 64 << 10  # smaller messages are parsed at once
_POLL_S = 0.02
_READ_S = 1.0  # a raw 1080p frame at 50 Mbit/s
_MAX_STREAMS = 256  # per connection; each is admitted or rejected as soon as its headers arrive


@dataclass(frozen=True)
class Limits:
    """Resource limits of one edge.

    Attributes:
        max_message_bytes: Largest message; a raw 4K frame has 25 MB.
        max_pixels: Most pixels of an image, before and after upscaling.
        rate: Sustained requests per second of one client.
        burst: Requests that one client may send at once after a pause.
        max_requests: Concurrent requests in total.
        max_requests_per_client: Concurrent requests of one client.
        body_timeout_s: Time for a message's body to arrive, in seconds.
        request_timeout_s: Time for a whole request, whatever deadline the client sets, in seconds.
        handshake_timeout_s: Time for a new connection to speak HTTP/2, in seconds.
        max_connections: Open connections in total.
        max_connections_per_address: Open connections of one address, or of one IPv6 network (/64), without an
            admitted call.
        idle_timeout_s: Time after which a connection without a call is closed, in seconds.
        max_connection_age_s: Age at which a connection is closed so that the client reconnects, in seconds.
    """

    max_message_bytes: int = 64 << 20
    max_pixels: int = (64 << 20) // 3
    rate: float = 60.0
    burst: int = 120
    max_requests: int = 16
    max_requests_per_client: int = 8
    body_timeout_s: float = 10.0
    request_timeout_s: float = 60.0
    handshake_timeout_s: float = 10.0
    max_connections: int = 512
    max_connections_per_address: int = 64
    idle_timeout_s: float = 60.0
    max_connection_age_s: float = 600.0


class Guard:
    """Admits calls to a server's methods. Belongs to one event loop.

    Attributes:
        connections: Learns which connections made an admitted call.

    Args:
        limits: Resource limits.
        metrics: Metrics of this edge.
        tokens: Accepted tokens; None = none needed, and clients are known by their certificate or address.
        pool: Threads that parse large messages; None = they are parsed at once.
    """

    def __init__(
        self, limits: Limits, metrics: Metrics, tokens: Tokens | None, pool: WorkPool | None = None
    ) -> None:
        self._pool = pool
        self.connections = ConnectionLimit(limits.max_connections, limits.max_connections_per_address)
        self._limits = limits
        self._metrics = metrics
        self._tokens = tokens
        self._rate = RateLimit(limits.rate, limits.burst)
        self._concurrency = ConcurrencyLimit(limits.max_requests, limits.max_requests_per_client)
        self._is_closed = False
        metrics.gauge(
            "mvstylizer_requests_inside",
            "Requests being read, validated, queued or computed.",
            lambda: self._concurrency.in_use,
        )

    @property
    def in_use(self) -> int:
        """Number of running requests, and of answers given up whose work still runs."""
        return self._concurrency.in_use

    def options(self) -> list[tuple[str, int]]:
        """Return the gRPC options of a server that uses this guard."""
        limits = self._limits
        return [
            ("grpc.so_reuseport", 0),  # otherwise two edges on one port would silently share its requests
            ("grpc.max_receive_message_length", limits.max_message_bytes),
            ("grpc.compression_enabled_algorithms_bitset", 1),  # none: 16 kB of gzip can be 16 MB of fields
            ("grpc.max_concurrent_streams", _MAX_STREAMS),
            ("grpc.server_handshake_timeout_ms", int(1000 * limits.handshake_timeout_s)),
            ("grpc.max_allowed_incoming_connections", limits.max_connections),
            ("grpc.max_connection_idle_ms", int(1000 * limits.idle_timeout_s)),
            ("grpc.max_connection_age_ms", int(1000 * limits.max_connection_age_s)),
            ("grpc.max_connection_age_grace_ms", int(1000 * limits.request_timeout_s)),
        ]

    async def close(self, grace_s: float) -> None:
        """Reject new calls, and wait until the running ones are answered.

        The last clients get time to read their answers: gRPC discards an answer that has already arrived if
        the connection is closed, and therefore reset, while the client still acknowledges its bytes.

        Args:
            grace_s: Upper limit of the wait, in seconds.
        """
        self._is_closed = True
        deadline = time.monotonic() + grace_s
        if self._concurrency.in_use:
            while self._concurrency.in_use and time.monotonic() < deadline:
                await asyncio.sleep(_POLL_S)
            await asyncio.sleep(min(_READ_S, max(0.0, deadline - time.monotonic())))

    def wrap(
        self, name: str, method: Method, parse: Callable[[bytes], Any] = bytes
    ) -> Callable[[Any, Any], Any]:
        """Return a method with admission, deadline, metrics, and errors that reveal nothing.

        Args:
            name: The method's name, for the metrics.
            method: What to call once the request is admitted and read.
            parse: Checks and parses the request's bytes.
        """

        async def handle(_: Any, context: Any) -> Any:
            start = time.monotonic()
            request: Any = None
            model, call = "", Call("", continued(_header(context, TRACEPARENT)))
            try:
                call = call._replace(client=self._admitted(context))
                with self._concurrency.take(call.client):
                    request = await self._received(context, parse, call)
                    model = _known(getattr(request, "model_name", ""))
                    response = await self._in_time(method(request, call), context, call)
            except StatusError as err:
                error = err.plain()
            except Exception:
                _LOG.exception("%s failed (trace %s)", name, trace_id_of(call.trace))
                error = StatusError(grpc.StatusCode.INTERNAL, "the edge failed on this request")
            else:
                self._count(name, model, "OK", call, time.monotonic() - start)
                self._metrics.request_seconds.labels(model).observe(time.monotonic() - start)
                return response
            self._count(name, model, error.status.name, call, time.monotonic() - start)
            request = None  # gRPC keeps this frame, in a cycle that is collected late
            await context.abort(error.status, error.text, error.trailers)

        return handle

    def _count(self, name: str, model: str, status: str, call: Call, seconds: float) -> None:
        """Count an answered request, and log it if it was admitted: a stranger must not fill the disk."""
        self._metrics.requests.labels(name, model, status).inc()
        if not call.client:
            return
        facts: dict[str, Any] = {"method": name, "model": model, "status": status, "client": call.client}
        facts |= {"ms": round(1000 * seconds, 1), "traceparent": call.trace}
        _ACCESS.info("%s %s", name, status, extra={"facts": facts})

    async def _received(self, context: Any, parse: Callable[[bytes], Any], call: Call) -> Any:
        """Return the request of a call, parsed."""
        data = await read_message(context, self._limits.body_timeout_s)
        if self._pool is None or len(data) < _MIN_THREAD_BYTES:
            return parse(data)
        return await self._pool.run(call.client, len(data) / 3, partial(parse, data))

    def _admitted(self, context: Any) -> str:
        """Return the client's name, after checking its token and its rate."""
        if self._is_closed:
            raise StatusError(grpc.StatusCode.UNAVAILABLE, "the edge is stopping")
        if self._tokens is not None:
            client = self._tokens.name(_header(context, "authorization"))
        else:
            client = certificate_name(context) or peer_host(context.peer())
        self.connections.admit(context.peer())
        self._rate.take(client)
        return client

    async def _in_time(self, answer: Awaitable[Any], context: Any, call: Call) -> Any:
        """Await the answer until the client's deadline or ours, whichever comes first.

        An answer given up counts as a running request of its client until the work for it has ended.
        """
        remaining = context.time_remaining()
        limit = self._limits.request_timeout_s
        task = asyncio.ensure_future(answer)
        try:
            await asyncio.wait([task], timeout=limit if remaining is None else min(remaining, limit))
        finally:
            if not task.done():
                task.cancel()
                self._concurrency.keep(call.client, task)
        if not task.done():
            raise StatusError(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline has passed")
        return task.result()


async def read_message(context: Any, timeout_s: float) -> bytes:
    """Return the first message of a client-streaming call, as bytes.

    Args:
        context: The call.
        timeout_s: Time for the message to arrive, in seconds.

    Raises:
        StatusError: It arrives too slowly, is missing, or is too large.
    """
    try:
        message = await asyncio.wait_for(context.read(), timeout_s)
    except TimeoutError:
        raise StatusError(grpc.StatusCode.DEADLINE_EXCEEDED, "the request arrived too slowly") from None
    if message is grpc.aio.EOF:
        raise malformed()
    data: bytes = message
    return data


def _header(context: Any, name: str) -> str:
    """Return a header of a call, or an empty string."""
    return next((str(value) for key, value in context.invocation_metadata() if key == name), "")


def _known(model: str) -> str:
    """Return a model's name for the metrics; unknown names, which clients can invent, all count as one."""
    return model if model in MODELS else ""
