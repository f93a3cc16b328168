"""The gateway's door: who may come in, how often, how many at a time, and how long they may take.

Before a message's body is read, the caller has shown a token, is within its rate and holds one of a bounded
number of places. All methods are registered as client-streaming ones, which look the same on the wire: only
so can a server look at the headers first and give up on a body that comes too slowly.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc

from edge_triton.gateway.admission import ConcurrencyLimit, RateLimit, Tokens, bearer, peer_host
from edge_triton.gateway.status_error import StatusError, invalid
from edge_triton.metrics import Metrics
from edge_triton.triton.repository import MODELS

Answer = Callable[[Any, str], Awaitable[Any]]
"""Takes a request and the client's name, gives the reply."""

_LOG = logging.getLogger(__name__)
_LOOK_S = 0.02
_READING_S = 1.0  # a raw 1080p frame over 50 Mbit/s
_MAX_STREAMS = 256  # of one connection; each takes a place or is refused as soon as its headers are there


@dataclass(frozen=True)
class Limits:
    """What one edge takes upon itself.

    Attributes:
        max_message_bytes: Largest message that is read; a raw 4K frame has 25 MB.
        max_pixels: Most pixels of an image, before and after upscaling.
        rate: Requests a second of one client in the long run.
        burst: Requests that one client may make at once after a pause.
        places: Requests inside at a time, in all.
        places_each: Requests of one client inside at a time.
        body_s: How long a message's body may take to arrive, in seconds.
        answer_s: How long a request may take in all, whatever deadline the client sets, in seconds.
        handshake_s: How long a new connection may take until it speaks HTTP/2, in seconds.
        connection_s: Age at which a connection is asked to come again, in seconds.
    """

    max_message_bytes: int = 64 << 20
    max_pixels: int = (64 << 20) // 3
    rate: float = 60.0
    burst: int = 120
    places: int = 16
    places_each: int = 8
    body_s: float = 10.0
    answer_s: float = 60.0
    handshake_s: float = 10.0
    connection_s: float = 600.0


class Guard:
    """Guards a server's methods; belongs to one event loop.

    Args:
        limits: What the edge takes upon itself.
        metrics: Where it counts.
        tokens: Who may come in; None = everyone, known by the address.
    """

    def __init__(self, limits: Limits, metrics: Metrics, tokens: Tokens | None) -> None:
        self._limits = limits
        self._metrics = metrics
        self._tokens = tokens
        self._rate = RateLimit(limits.rate, limits.burst)
        self._places = ConcurrencyLimit(limits.places, limits.places_each)
        self._is_closed = False
        metrics.gauge("mvstylizer_requests_inside", lambda: self._places.taken)

    def options(self) -> list[tuple[str, int]]:
        """Return gRPC's options for a server behind this door."""
        limits = self._limits
        return [
            ("grpc.so_reuseport", 0),  # two edges on one port would share its requests in silence
            ("grpc.max_receive_message_length", limits.max_message_bytes),
            ("grpc.max_concurrent_streams", _MAX_STREAMS),
            ("grpc.server_handshake_timeout_ms", int(1000 * limits.handshake_s)),
            ("grpc.max_connection_age_ms", int(1000 * limits.connection_s)),
            ("grpc.max_connection_age_grace_ms", int(1000 * limits.answer_s)),
        ]

    async def close(self, grace_s: float) -> None:
        """Refuse everyone from now on, and wait until those inside have their answers.

        Whoever was answered last is given time to read: a connection that is closed while its client still
        acknowledges bytes is reset, and gRPC then throws away the answer that has arrived.

        Args:
            grace_s: The most that it may take, in seconds.
        """
        self._is_closed = True
        deadline = time.monotonic() + grace_s
        if self._places.taken:
            while self._places.taken and time.monotonic() < deadline:
                await asyncio.sleep(_LOOK_S)
            await asyncio.sleep(min(_READING_S, max(0.0, deadline - time.monotonic())))

    def guard(self, method: str, answer: Answer) -> Callable[[Any, Any], Any]:
        """Wrap a method: token, rate, place, body, deadline, and an error that tells strangers nothing."""

        async def enter(_: Any, context: Any) -> Any:
            began = time.monotonic()
            model = ""
            try:
                if self._is_closed:
                    raise StatusError(grpc.StatusCode.UNAVAILABLE, "the edge is stopping")
                client = self._client(context)
                self._rate.take(client)
                with self._places.take(client):
                    request = await self._body(context)
                    model = _known(getattr(request, "model_name", ""))
                    reply = await self._in_time(answer(request, client), context)
            except StatusError as err:
                refusal = err
            except Exception:
                _LOG.exception("%s failed", method)
                refusal = StatusError(grpc.StatusCode.INTERNAL, "the edge failed on this request")
            else:
                self._metrics.count("mvstylizer_requests_total", method=method, model=model, code="OK")
                self._metrics.observe("mvstylizer_request_seconds", time.monotonic() - began, model=model)
                return reply
            code = refusal.status.name
            self._metrics.count("mvstylizer_requests_total", method=method, model=model, code=code)
            await context.abort(refusal.status, refusal.text, _pushback(refusal))

        return enter

    def _client(self, context: Any) -> str:
        if self._tokens is not None:
            return self._tokens.name(bearer(context.invocation_metadata()))
        return peer_host(context.peer())

    async def _body(self, context: Any) -> Any:
        try:
            request = await asyncio.wait_for(context.read(), self._limits.body_s)
        except TimeoutError:
            raise StatusError(grpc.StatusCode.DEADLINE_EXCEEDED, "the request came too slowly") from None
        if request is grpc.aio.EOF:
            raise invalid("the request is empty, no message of this protocol, or too large")
        return request

    async def _in_time(self, answer: Awaitable[Any], context: Any) -> Any:
        """Await the answer no longer than the client does."""
        remaining = context.time_remaining()
        allowed = self._limits.answer_s if remaining is None else min(remaining, self._limits.answer_s)
        try:
            return await asyncio.wait_for(answer, allowed)
        except TimeoutError:
            raise StatusError(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline has passed") from None


def _known(model: str) -> str:
    """Return a model's name for the metrics; strangers' inventions all count as one."""
    return model if model in MODELS else ""


def _pushback(refusal: StatusError) -> tuple[tuple[str, str], ...]:
    if refusal.pushback_s is None:
        return ()
    return (("grpc-retry-pushback-ms", str(int(1000 * refusal.pushback_s) + 1)),)
