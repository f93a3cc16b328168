"""What phones reach: the KServe v2 protocol over gRPC in front of Triton, which stays on loopback.

Plain tritonclient works against it. Who comes in is the door's business (see `door`); here each request is
checked before a tensor is decoded or forwarded, and answered in the words of the protocol.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version as package_version
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from edge_triton.client.jpeg import JpegError, encode_jpeg
from edge_triton.client.map_codec import MapCodecError, pack_map
from edge_triton.gateway.admission import Tokens
from edge_triton.gateway.guard import Answer, Guard, Limits
from edge_triton.gateway.spool import Spool
from edge_triton.gateway.status_error import StatusError, invalid, restarting
from edge_triton.gateway.style_cache import Styles, photo_key
from edge_triton.gateway.triton_channel import Output, TritonChannel, TritonChannelClosedError
from edge_triton.gateway.validation import (
    FORGET,
    PACKED,
    Contract,
    InferenceRequest,
    check_values,
    plain_name,
    read_request,
    upscaled,
)
from edge_triton.metrics import Metrics
from edge_triton.triton.repository import MODELS, STYLE_ENCODER
from edge_triton.triton.startup_errors import PortTakenError
from mvstylizer.bundle import Bundle

SERVICE = "inference.GRPCInferenceService"
NAME = "mvstylizer"
_LOG = logging.getLogger(__name__)
_UNHEALTHY = "is not healthy"


class Gateway:
    """The public door; belongs to one event loop.

    Args:
        limits: What it takes upon itself.
        metrics: Where it counts.
        tokens: Who may come in; None = everyone.
        spool: Keeps what clients allow to be learnt from; None = nothing is kept.
        on_trouble: Called when Triton turns out to be ill.

    Attributes:
        upstream: The running Triton; None while there is none.
        bundles: The versions that Triton has loaded.
        version: The one that a request without a version gets.
        is_ready: Tells whether inferences work.
    """

    def __init__(
        self,
        limits: Limits,
        metrics: Metrics,
        tokens: Tokens | None = None,
        spool: Spool | None = None,
        on_trouble: Callable[[], None] = lambda: None,
    ) -> None:
        self.upstream: TritonChannel | None = None
        self.bundles: dict[int, Bundle] = {}
        self.version = 0
        self.is_ready: Callable[[], bool] = lambda: self.upstream is not None
        self.last_success = 0.0
        self._limits = limits
        self._metrics = metrics
        self._spool = spool
        self._on_trouble = on_trouble
        self._door = Guard(limits, metrics, tokens)
        self._styles = Styles()
        self._server: Any = None
        metrics.gauge("mvstylizer_spool_bytes", lambda: 0 if spool is None else spool.bytes)
        metrics.gauge("mvstylizer_styles", lambda: len(self._styles))
        metrics.gauge("mvstylizer_model_version", lambda: self.version)

    async def listen(self, host: str, port: int, credentials: Any = None) -> int:
        """Open the door.

        Args:
            host: Address or name to listen on.
            port: Port; 0 = a free one.
            credentials: gRPC server credentials; None = no TLS.

        Returns:
            The port.

        Raises:
            PortTakenError: It cannot be had.
        """
        server = grpc.aio.server(options=self._door.options())
        server.add_generic_rpc_handlers([self._handlers()])
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if credentials is None:
                bound = server.add_insecure_port(address)
            else:
                bound = server.add_secure_port(address, credentials)
        except RuntimeError as err:
            raise PortTakenError(
                f"Port {port} cannot be used on {host}",
                "Choose another with --port, or stop the program that has it",
            ) from err
        await server.start()
        self._server = server
        return int(bound)

    async def close(self, grace_s: float) -> None:
        """Take no new requests, and wait for those inside to be answered, `grace_s` seconds at most."""
        if self._server is not None:
            await self._door.close(grace_s)
            await self._server.stop(0.0)

    def _handlers(self) -> Any:
        methods: dict[str, tuple[Answer, Any]] = {
            "ServerLive": (self._server_live, service_pb2.ServerLiveRequest),
            "ServerReady": (self._server_ready, service_pb2.ServerReadyRequest),
            "ModelReady": (self._model_ready, service_pb2.ModelReadyRequest),
            "ServerMetadata": (self._server_metadata, service_pb2.ServerMetadataRequest),
            "ModelMetadata": (self._model_metadata, service_pb2.ModelMetadataRequest),
            "ModelInfer": (self._model_infer, service_pb2.ModelInferRequest),
        }
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                name: grpc.stream_unary_rpc_method_handler(
                    self._door.guard(name, answer),
                    request_deserializer=request.FromString,
                    response_serializer=lambda reply: reply.SerializeToString(),
                )
                for name, (answer, request) in methods.items()
            },
        )

    async def _server_live(
        self, _: service_pb2.ServerLiveRequest, client: str
    ) -> service_pb2.ServerLiveResponse:
        return service_pb2.ServerLiveResponse(live=True)

    async def _server_ready(
        self, _: service_pb2.ServerReadyRequest, client: str
    ) -> service_pb2.ServerReadyResponse:
        return service_pb2.ServerReadyResponse(ready=self.is_ready())

    async def _model_ready(
        self, request: service_pb2.ModelReadyRequest, client: str
    ) -> service_pb2.ModelReadyResponse:
        self._version(request.name, request.version)
        return service_pb2.ModelReadyResponse(ready=self.is_ready())

    async def _server_metadata(
        self, _: service_pb2.ServerMetadataRequest, client: str
    ) -> service_pb2.ServerMetadataResponse:
        return service_pb2.ServerMetadataResponse(name=NAME, version=package_version(NAME))

    async def _model_metadata(
        self, request: service_pb2.ModelMetadataRequest, client: str
    ) -> service_pb2.ModelMetadataResponse:
        contract = self._contract(request.name, self._version(request.name, request.version))
        reply = service_pb2.ModelMetadataResponse(
            name=request.name, versions=[str(v) for v in sorted(self.bundles)], platform=NAME
        )
        for name, datatype, shape in contract.wire_inputs():
            reply.inputs.add(name=name, datatype=datatype, shape=shape)
        for name, datatype, shape in contract.wire_outputs():
            reply.outputs.add(name=name, datatype=datatype, shape=shape)
        return reply

    async def _model_infer(
        self, request: service_pb2.ModelInferRequest, client: str
    ) -> service_pb2.ModelInferResponse:
        name, version = request.model_name, self._version(request.model_name, request.model_version)
        ask = read_request(request, self._contract(name, version), self._limits.max_pixels)
        if ask.jpegs:
            await asyncio.to_thread(ask.decode, self._limits.max_pixels)
        check_values(ask.tensors, self._limits.max_pixels)
        await self._retrain(ask, client)
        if name == STYLE_ENCODER:
            got = {"style_code": await self._encode(version, ask.tensors["style"])}
        else:
            if "stylized" not in ask.raw_outputs():
                # ONNX Runtime runs the whole graph whatever is asked for, so the image nobody wants is tiny.
                ask.tensors["r"] = np.array([1 / min(ask.tensors["frame"].shape[1:3])], np.float32)
            ask.tensors["style_code"] = await self._translate(version, ask.tensors["style_code"])
            got = await self._forward(name, version, ask.tensors, ask.raw_outputs())
        reply = service_pb2.ModelInferResponse(model_name=name, model_version=str(version), id=request.id)
        for output in ask.outputs:
            tensor = got[plain_name(output)]
            if output.endswith(PACKED):
                tensor = await asyncio.to_thread(_as_packed, tensor)
            elif output not in got:
                tensor = await asyncio.to_thread(_as_jpeg, tensor, ask.quality)
            reply.outputs.add(name=output, datatype=tensor.datatype, shape=tensor.shape)
            reply.raw_output_contents.append(tensor.data)
        return reply

    async def _retrain(self, ask: InferenceRequest, client: str) -> None:
        """Keep the request's image for retraining, or forget the client's, as it wishes."""
        if self._spool is None or not ask.retrain:
            return
        try:
            if ask.retrain == FORGET:
                await asyncio.to_thread(self._spool.forget, client)
            elif "frame" in ask.tensors:
                await asyncio.to_thread(self._spool.put, "frames", client, ask.tensors["frame"][0])
            else:
                await asyncio.to_thread(self._spool.put, "styles", client, ask.tensors["style"][0])
        except (OSError, JpegError) as err:
            _LOG.warning("the spool: %s", err)
            self._metrics.count("mvstylizer_spool_failures_total")
            if ask.retrain == FORGET:
                text = "the edge could not remove what it kept"
                raise StatusError(grpc.StatusCode.INTERNAL, text) from err

    async def _encode(self, version: int, photo: NDArray[np.uint8]) -> Output:
        """Return a photo's style code, from memory if this version has encoded it before."""
        key = await asyncio.to_thread(photo_key, photo)
        code = self._styles.code(key, version)
        if code is None:
            got = await self._forward(STYLE_ENCODER, version, {"style": photo}, ("style_code",))
            code = got["style_code"].data
            self._styles.add(key, photo, version, code)
        return Output("FP32", (1, len(code) // 4), code)

    async def _translate(self, version: int, code: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the code that this version gives the photo behind a code of another version."""
        known = self._styles.translate(code.tobytes(), version)
        if not isinstance(known, bytes):
            known = (await self._encode(version, known)).data
        return np.frombuffer(known, np.float32)[None]

    async def _forward(
        self, model: str, version: int, tensors: Mapping[str, NDArray[Any]], names: Sequence[str]
    ) -> dict[str, Output]:
        """Let Triton answer, and say in our own words when it does not."""
        if self.upstream is None:
            raise restarting()
        outputs = {name: _most_bytes(name, tensors) for name in names}
        try:
            got = await self.upstream.infer(model, version, tensors, outputs)
        except TritonChannelClosedError as err:
            raise restarting() from err
        except grpc.aio.AioRpcError as err:
            raise self._translated(err) from err
        self.last_success = time.monotonic()
        return got

    def _translated(self, err: grpc.aio.AioRpcError) -> StatusError:
        code = err.code()
        if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.CANCELLED) or (
            _UNHEALTHY in (err.details() or "")
        ):
            self._on_trouble()
            return restarting()
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            return StatusError(code, "the stylizer took too long")
        if code == grpc.StatusCode.INVALID_ARGUMENT:
            return invalid("the model refuses this input")
        return StatusError(grpc.StatusCode.INTERNAL, "the model failed on this input")

    def _version(self, model: str, version: str) -> int:
        """Return the version that a request means."""
        if model not in MODELS:
            raise StatusError(grpc.StatusCode.NOT_FOUND, "no such model is served here")
        wanted = [v for v in self.bundles if str(v) == version] if version else [self.version]
        if not wanted:
            raise StatusError(grpc.StatusCode.NOT_FOUND, "no such model version is served here")
        return wanted[0]

    def _contract(self, model: str, version: int) -> Contract:
        spec = self.bundles[version].spec(model)
        return Contract(spec.inputs, spec.outputs)


def _most_bytes(output: str, tensors: Mapping[str, NDArray[Any]]) -> int:
    """Return the most bytes that an output can have, 0 where that is not known."""
    if output != "stylized":
        return 0
    height, width = upscaled(dict(tensors))
    return (height + 1) * (width + 1) * 3  # the graph may round a half the other way


def _as_jpeg(image: Output, quality: int) -> Output:
    """Turn a raw image (1, H, W, 3) into a BYTES tensor that holds it as a JPEG."""
    try:
        data = encode_jpeg(np.frombuffer(image.data, np.uint8).reshape(image.shape[1:]), quality)
    except JpegError as err:
        raise invalid(str(err)) from err
    return _as_bytes(data)


def _as_packed(affine_map: Output) -> Output:
    """Turn a raw map (1, gh, gw, 12) into a BYTES tensor that holds it packed."""
    try:
        data = pack_map(np.frombuffer(affine_map.data, np.float32).reshape(affine_map.shape[1:]))
    except MapCodecError as err:
        raise StatusError(grpc.StatusCode.INTERNAL, "the model failed on this input") from err
    return _as_bytes(data)


def _as_bytes(data: bytes) -> Output:
    return Output("BYTES", (1,), len(data).to_bytes(4, "little") + data)
