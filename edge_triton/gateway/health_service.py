"""`grpc.health.v1` on the gateway's port, for Kubernetes, Envoy and gRPC clients that check health.

It needs no token, because probes cannot send one, and the answer is one bit. Separate limits keep it cheap:
few bodies are read at once, each within a second, and the number of watches is limited.

The library's own servicer is not used. It expects to be informed of each change, but readiness here also
changes by time alone (no success for ten seconds), and once one watcher disconnects, its `Watch` no longer
notifies the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import SERVICE_NAME

from edge_triton.gateway.admission import ConcurrencyLimit, RateLimit, peer_host
from edge_triton.gateway.guard import Limits, read_message
from edge_triton.gateway.message import parser
from edge_triton.gateway.status_error import StatusError

_POLL_S = 0.2
_BODY_TIMEOUT_S = 1.0
_MAX_READS, _MAX_READS_PER_CLIENT = 16, 4
_MAX_WATCHES, _MAX_WATCHES_PER_CLIENT = 256, 32

_parse = parser(health_pb2.HealthCheckRequest)
Status = health_pb2.HealthCheckResponse.ServingStatus


class HealthService:
    """Check and Watch. Belongs to one event loop.

    Args:
        is_ready: Returns whether inferences work.
        limits: Rate and burst, applied per address.
        services: Names whose health is known; the empty name stands for the whole server.
    """

    def __init__(self, is_ready: Callable[[], bool], limits: Limits, services: Collection[str]) -> None:
        self._is_ready = is_ready
        self._services = frozenset(services)
        self._rate = RateLimit(limits.rate, limits.burst)
        self._reads = ConcurrencyLimit(_MAX_READS, _MAX_READS_PER_CLIENT)
        self._watches = ConcurrencyLimit(_MAX_WATCHES, _MAX_WATCHES_PER_CLIENT)

    def handlers(self) -> Any:
        """Return the gRPC handlers of both methods."""
        codec = {
            "response_serializer": health_pb2.HealthCheckResponse.SerializeToString,
        }
        methods = {
            "Check": grpc.stream_unary_rpc_method_handler(self._check, **codec),
            "Watch": grpc.stream_stream_rpc_method_handler(self._watch, **codec),
        }
        return grpc.method_handlers_generic_handler(SERVICE_NAME, methods)

    async def close(self, grace_s: float) -> None:
        """Wait until watching clients have been informed that the edge is no longer ready.

        Args:
            grace_s: Upper limit, in seconds.
        """
        if self._watches.in_use:
            await asyncio.sleep(min(grace_s, 2 * _POLL_S))

    async def _check(self, _: Any, context: Any) -> health_pb2.HealthCheckResponse:
        try:
            service = await self._service(context)
            if service not in self._services:
                raise StatusError(grpc.StatusCode.NOT_FOUND, "no such service is served here")
        except StatusError as err:
            await context.abort(err.status, err.text, err.trailers)
        return health_pb2.HealthCheckResponse(status=self._status(service))

    async def _watch(self, _: Any, context: Any) -> None:
        """Send the status now and whenever it changes, until the client or the edge ends the call."""
        try:
            service = await self._service(context)
            with self._watches.take(peer_host(context.peer())):
                last = None
                while True:
                    status = self._status(service)
                    if status != last:
                        await context.write(health_pb2.HealthCheckResponse(status=status))
                        last = status
                    await asyncio.sleep(_POLL_S)
        except StatusError as err:
            await context.abort(err.status, err.text, err.trailers)

    async def _service(self, context: Any) -> str:
        """Return the name that a call contains, once it is admitted."""
        client = peer_host(context.peer())
        self._rate.take(client)
        with self._reads.take(client):
            message = _parse(await read_message(context, _BODY_TIMEOUT_S))
        name: str = message.service
        return name

    def _status(self, service: str) -> Any:
        if service not in self._services:
            return Status.SERVICE_UNKNOWN
        return Status.SERVING if self._is_ready() else Status.NOT_SERVING
