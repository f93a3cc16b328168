"""The client against bad addresses, silence, and a scripted edge (real gRPC on loopback)."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent import futures

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2, service_pb2_grpc

from edge_triton.client.client import (
    EdgeAddressError,
    EdgeClient,
    EdgeRefusedError,
    EdgeUnavailableError,
    check_address,
)

STYLE = np.zeros((4, 4, 3), np.uint8)
CODE = np.array([0.25, 0.5, 0.75], np.float32)
Failure = tuple[grpc.StatusCode, str]


@given(st.integers(1, 65535), st.sampled_from(["127.0.0.1", "localhost", "edge-1.example.org", "[::1]"]))
def test_valid_addresses(port: int, host: str) -> None:
    assert check_address(f" {host}:{port}\n") == f"{host}:{port}"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "127.0.0.1",
        ":8001",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:80a",
        "127.0.0.1:08001",
        "http://127.0.0.1:8001",
        "127.0.0.1:8001/v2",
        "a b:8001",
        "user@host:8001",
        "::1:8001",
        "127.0.0.1:8001?x=1",
        "127.0.0.1:8001#x",
        "unix:/s",
    ],
)
def test_error_names_an_invalid_address(address: str) -> None:
    with pytest.raises(EdgeAddressError, match="HOST:PORT") as caught:
        EdgeClient(address)
    assert repr(address) in str(caught.value)


def test_error_when_nothing_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with EdgeClient(address, patience_s=0.2) as client, pytest.raises(EdgeUnavailableError) as caught:
            client.encode_style(STYLE)
    assert f"No edge answers at {address}" in str(caught.value)
    assert "mvstylizer serve" in str(caught.value)
    assert "--local" in str(caught.value)


def test_silent_server_hits_the_deadline() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with (
            EdgeClient(address, timeout_s=0.2, patience_s=0) as client,
            pytest.raises(EdgeUnavailableError, match=r"within 0\.2 s"),
        ):
            client.server_info()


class ScriptedEdge(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Fails with one entry of a list per call, then answers with a style code."""

    def __init__(self, failures: list[Failure], shape: tuple[int, ...]) -> None:
        self.failures = failures
        self.shape = shape
        self.requests: list[service_pb2.ModelInferRequest] = []

    def ModelInfer(
        self, request: service_pb2.ModelInferRequest, context: grpc.ServicerContext
    ) -> service_pb2.ModelInferResponse:
        self.requests.append(request)
        if self.failures:
            context.abort(*self.failures.pop(0))
        reply = service_pb2.ModelInferResponse(model_name=request.model_name)
        reply.outputs.add(name="style_code", datatype="FP32", shape=self.shape)
        reply.raw_output_contents.append(CODE.tobytes())
        return reply


Script = Callable[..., tuple[ScriptedEdge, str]]


@pytest.fixture
def scripted() -> Iterator[Script]:
    servers = []

    def start(*failures: Failure, shape: tuple[int, ...] = (1, 3)) -> tuple[ScriptedEdge, str]:
        edge = ScriptedEdge(list(failures), shape)
        server = grpc.server(futures.ThreadPoolExecutor(1))
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(edge, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return edge, f"127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop(None).wait()


TRANSIENT = [
    (grpc.StatusCode.UNAVAILABLE, "Socket closed"),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, "queue is full"),
    (grpc.StatusCode.NOT_FOUND, "Request for unknown model: 'style_encoder' has no available versions"),
    (grpc.StatusCode.INTERNAL, "Stub process 'style_encoder_0_0' is not healthy."),
    (grpc.StatusCode.DEADLINE_EXCEEDED, "late"),
]


def test_transient_failures_are_retried(scripted: Script) -> None:
    edge, address = scripted(*TRANSIENT)
    with EdgeClient(address, patience_s=60, model_version="4") as client:
        np.testing.assert_array_equal(client.encode_style(STYLE), CODE)
    assert len(edge.requests) == len(TRANSIENT) + 1
    assert {request.model_version for request in edge.requests} == {"4"}


def test_retries_end_with_the_patience(scripted: Script) -> None:
    edge, address = scripted(*[TRANSIENT[0]] * 1000)
    with EdgeClient(address, patience_s=3) as client, pytest.raises(EdgeUnavailableError, match=address):
        client.encode_style(STYLE)
    assert 1 < len(edge.requests) < 1000


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, EdgeRefusedError),
        (grpc.StatusCode.UNAUTHENTICATED, EdgeRefusedError),
        (grpc.StatusCode.INTERNAL, EdgeUnavailableError),
    ],
)
def test_permanent_failures_are_not_retried(
    scripted: Script, status: grpc.StatusCode, error: type[Exception]
) -> None:
    edge, address = scripted((status, "the\nreason"))
    with EdgeClient(address) as client, pytest.raises(error, match="the reason"):
        client.encode_style(STYLE)
    assert len(edge.requests) == 1


def test_unknown_version_raises_after_the_retries(scripted: Script) -> None:
    _, address = scripted(*[TRANSIENT[2]] * 1000)
    with EdgeClient(address, patience_s=0.1) as client, pytest.raises(EdgeRefusedError):
        client.encode_style(STYLE)


@pytest.mark.parametrize("shape", [(3,), (3, 1), (1, 4), (1, 1, 3)])
def test_reply_of_the_wrong_shape_raises(scripted: Script, shape: tuple[int, ...]) -> None:
    _, address = scripted(shape=shape)
    with EdgeClient(address) as client, pytest.raises(EdgeUnavailableError, match="sent a wrong reply"):
        client.encode_style(STYLE)


class OldEdge(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Offers an affine map, as edges did before bilateral grids."""

    def ModelMetadata(
        self, request: service_pb2.ModelMetadataRequest, context: grpc.ServicerContext
    ) -> service_pb2.ModelMetadataResponse:
        reply = service_pb2.ModelMetadataResponse(name=request.name)
        for name in ("stylized", "stylized_jpeg", "affine_map", "affine_map_packed"):
            reply.outputs.add(name=name)
        return reply

    def ModelInfer(self, request: service_pb2.ModelInferRequest, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the model has no tensor of that name")


@pytest.mark.parametrize("is_frugal", [False, True])
def test_an_older_edge_is_named(is_frugal: bool) -> None:
    server = grpc.server(futures.ThreadPoolExecutor(1))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(OldEdge(), server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    with (
        EdgeClient(address, frugal=is_frugal) as client,
        pytest.raises(EdgeRefusedError, match="offers affine_map, not grid") as caught,
    ):
        client.stylize(STYLE, CODE, reply="map")
    server.stop(None).wait()
    assert "Update mvstylizer" in caught.value.hint


def test_loopback_ignores_the_proxy(scripted: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    _, address = scripted()
    with EdgeClient(address, patience_s=0) as client:
        np.testing.assert_array_equal(client.encode_style(STYLE), CODE)


@pytest.mark.parametrize(
    "image", [STYLE[0], STYLE[None], STYLE[..., :2], STYLE.astype(np.float32), np.zeros((4, 4, 4), np.uint8)]
)
def test_invalid_images_are_not_sent(scripted: Script, image: np.ndarray) -> None:
    edge, address = scripted()
    with EdgeClient(address) as client:
        with pytest.raises(ValueError, match="uint8"):
            client.encode_style(image)
        with pytest.raises(ValueError, match="uint8"):
            client.stylize(image, CODE)
        with pytest.raises(ValueError, match="style code"):
            client.stylize(STYLE, CODE[None])
    assert not edge.requests
