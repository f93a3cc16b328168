"""The public gRPC server: KServe v2 and `grpc.health.v1`, in front of a Triton that listens on loopback only.

Plain tritonclient works against it. `Guard` decides who may call; each inference request is validated before
anything of it reaches Triton.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from importlib.metadata import version as package_version
from typing import Any

import grpc
from tritonclient.grpc import service_pb2

from edge_triton.client.jpeg import JpegError
from edge_triton.gateway.admission import Tokens
from edge_triton.gateway.call import Call
from edge_triton.gateway.contract import Contract
from edge_triton.gateway.guard import Guard, Limits, Method
from edge_triton.gateway.health_service import HealthService
from edge_triton.gateway.inference import Inference
from edge_triton.gateway.message import RawRequest, parse_infer, parser
from edge_triton.gateway.responses import build_response
from edge_triton.gateway.serving_state import ServingState
from edge_triton.gateway.spool import Kind, Spool
from edge_triton.gateway.status_error import StatusError
from edge_triton.gateway.validation import FORGET, InferenceRequest, validate
from edge_triton.gateway.work_pool import WorkPool
from edge_triton.metrics import Metrics
from edge_triton.triton.repository import MODELS
from edge_triton.triton.startup_errors import PortTakenError
from mvstylizer.bundle import Bundle

SERVICE = "inference.GRPCInferenceService"
NAME = "mvstylizer"
_LOG = logging.getLogger(__name__)


class Gateway:
    """Answers phones. Belongs to one event loop.

    Args:
        state: What is served, shared with supervisor and rollout.
        limits: Resource limits.
        metrics: Metrics of this edge.
        tokens: Accepted bearer tokens; None = no token needed.
        spool: Stores images of clients that allow it; None = nothing is stored.
    """

    def __init__(
        self,
        state: ServingState,
        limits: Limits,
        metrics: Metrics,
        tokens: Tokens | None = None,
        spool: Spool | None = None,
    ) -> None:
        self._state = state
        self._limits = limits
        self._metrics = metrics
        self._spool = spool
        self._pool = WorkPool()
        self._guard = Guard(limits, metrics, tokens, self._pool)
        self._health = HealthService(state.is_ready, limits, services=("", SERVICE))
        self._inference = Inference(state, self._pool)
        self._server: Any = None
        metrics.gauge(
            "mvstylizer_spool_bytes",
            "Bytes stored for retraining.",
            lambda: 0 if spool is None else spool.bytes,
        )
        metrics.gauge(
            "mvstylizer_styles", "Style photos in the cache.", lambda: self._inference.cached_styles
        )
        metrics.gauge(
            "mvstylizer_style_bytes", "Memory of the style cache.", lambda: self._inference.cached_bytes
        )

    async def listen(self, host: str, port: int, credentials: Any = None) -> int:
        """Start to listen.

        Args:
            host: Address or name to listen on.
            port: Port; 0 = a free one.
            credentials: gRPC server credentials; None = no TLS.

        Returns:
            The port.

        Raises:
            PortTakenError: The port cannot be used.
        """
        server = grpc.aio.server(options=self._guard.options())
        server.add_generic_rpc_handlers([self._handlers(), self._health.handlers()])
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if credentials is None:
                bound = server.add_insecure_port(address)
            else:
                bound = server.add_secure_port(address, credentials)
        except RuntimeError as err:
            raise PortTakenError(
                f"Port {port} cannot be used on {host}",
                "Choose another with --port, or stop the program that uses it",
            ) from err
        await server.start()
        self._server = server
        self._guard.connections.start(bound)
        return int(bound)

    async def close(self, grace_s: float) -> None:
        """Accept no new requests, wait for running ones up to `grace_s` seconds, then stop listening."""
        if self._server is not None:
            await asyncio.gather(self._guard.close(grace_s), self._health.close(grace_s))
            await self._server.stop(0.0)
            await asyncio.to_thread(self._guard.connections.close)
        self._pool.close()

    def _handlers(self) -> Any:
        methods: dict[str, tuple[Method, Callable[[bytes], Any]]] = {
            "ServerLive": (self._server_live, parser(service_pb2.ServerLiveRequest)),
            "ServerReady": (self._server_ready, parser(service_pb2.ServerReadyRequest)),
            "ModelReady": (self._model_ready, parser(service_pb2.ModelReadyRequest)),
            "ServerMetadata": (self._server_metadata, parser(service_pb2.ServerMetadataRequest)),
            "ModelMetadata": (self._model_metadata, parser(service_pb2.ModelMetadataRequest)),
            "ModelInfer": (self._model_infer, parse_infer),
        }
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                name: grpc.stream_unary_rpc_method_handler(
                    self._guard.wrap(name, method, parse),
                    response_serializer=lambda response: response.SerializeToString(),
                )
                for name, (method, parse) in methods.items()
            },
        )

    async def _server_live(
        self, _: service_pb2.ServerLiveRequest, call: Call
    ) -> service_pb2.ServerLiveResponse:
        return service_pb2.ServerLiveResponse(live=True)

    async def _server_ready(
        self, _: service_pb2.ServerReadyRequest, call: Call
    ) -> service_pb2.ServerReadyResponse:
        return service_pb2.ServerReadyResponse(ready=self._state.is_ready())

    async def _model_ready(
        self, message: service_pb2.ModelReadyRequest, call: Call
    ) -> service_pb2.ModelReadyResponse:
        self._bundle(message.name, message.version)
        return service_pb2.ModelReadyResponse(ready=self._state.is_ready())

    async def _server_metadata(
        self, _: service_pb2.ServerMetadataRequest, call: Call
    ) -> service_pb2.ServerMetadataResponse:
        return service_pb2.ServerMetadataResponse(name=NAME, version=package_version(NAME))

    async def _model_metadata(
        self, message: service_pb2.ModelMetadataRequest, call: Call
    ) -> service_pb2.ModelMetadataResponse:
        spec = self._bundle(message.name, message.version).spec(message.name)
        contract = Contract(spec.inputs, spec.outputs)
        response = service_pb2.ModelMetadataResponse(
            name=message.name, versions=[str(v) for v in sorted(self._state.bundles)], platform=NAME
        )
        for name, datatype, shape in contract.wire_inputs():
            response.inputs.add(name=name, datatype=datatype, shape=shape)
        for name, datatype, shape in contract.wire_outputs():
            response.outputs.add(name=name, datatype=datatype, shape=shape)
        return response

    async def _model_infer(self, received: RawRequest, call: Call) -> service_pb2.ModelInferResponse:
        bundle = self._bundle(received.model_name, received.message.model_version)
        max_pixels = self._limits.max_pixels
        request = await self._pool.run(
            call.client, received.pixels, partial(validate, received, bundle, max_pixels)
        )
        if request.retrain == FORGET:
            self._inference.forget(call.client)
        if self._spool is not None and request.retrain:
            await self._update_spool(self._spool, request, call.client)
        outputs = await self._inference.run(request, call)
        return await build_response(request, outputs, self._pool, call.client)

    def _bundle(self, model: str, version: str) -> Bundle:
        """Return the bundle that answers a request; an empty version means the one that is served."""
        if model not in MODELS:
            raise StatusError(grpc.StatusCode.NOT_FOUND, "no such model is served here")
        if not version:
            return self._state.served
        for number, bundle in self._state.bundles.items():
            if str(number) == version:
                return bundle
        raise StatusError(grpc.StatusCode.NOT_FOUND, "no such model version is served here")

    async def _update_spool(self, spool: Spool, request: InferenceRequest, client: str) -> None:
        """Store the request's image for retraining, or delete the client's images, as the request says."""
        try:
            if request.retrain == FORGET:
                await self._pool.run(client, 0, partial(spool.forget, client))
            else:
                kind: Kind = "frames" if "frame" in request.tensors else "styles"
                image = request.tensors["frame" if kind == "frames" else "style"][0]
                await self._pool.run(client, image.size / 3, partial(spool.put, kind, client, image))
        except (OSError, JpegError) as err:
            _LOG.warning("spool: %s", err)
            self._metrics.spool_failures.inc()
            if request.retrain == FORGET:
                text = "the edge could not delete the stored images"
                raise StatusError(grpc.StatusCode.INTERNAL, text) from err
