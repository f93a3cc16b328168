"""Rate, concurrency, deadlines and slow clients, at a real gateway."""

from __future__ import annotations

import logging
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
from tritonclient.grpc import service_pb2_grpc

from edge_triton.client.client import EdgeClient
from edge_triton.edge import Edge
from edge_triton.gateway.guard import Limits
from mvstylizer.bundle import Bundle
from tests.edge_triton.gateway.messages import GRAY, STYLE_CODE, request

pytestmark = pytest.mark.server
Photo = Callable[[int, int], np.ndarray]
StartEdge = Callable[..., Any]
Stub = service_pb2_grpc.GRPCInferenceServiceStub


def test_flood_is_throttled_and_not_logged(
    start_edge: StartEdge, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "edge_triton.access")
    limits = Limits(rate=0.001, burst=5)
    with start_edge(bundle, limits=limits) as running, grpc.insecure_channel(running.edge.address) as channel:
        stub = Stub(channel)
        codes = []
        for _ in range(20):  # the same request
            try:
                stub.ModelInfer(request(), timeout=120)
                codes.append(grpc.StatusCode.OK)
            except grpc.RpcError as err:
                codes.append(err.code())
                pushback = dict(err.trailing_metadata())["grpc-retry-pushback-ms"]
        assert codes == [grpc.StatusCode.OK] * 5 + [grpc.StatusCode.RESOURCE_EXHAUSTED] * 15
        assert int(pushback) > 0
        assert sum(record.name == "edge_triton.access" for record in caplog.records) == 5


def test_flood_of_one_client_does_not_affect_another(
    start_edge: StartEdge, bundle: Bundle, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("flood 0123456789abcdef\ngood fedcba9876543210\n")
    limits = Limits(rate=0.001, burst=5)
    with start_edge(bundle, limits=limits, token_file=tokens) as running:
        address = running.edge.address
        with grpc.insecure_channel(address) as channel:
            stub, header = Stub(channel), [("authorization", "Bearer 0123456789abcdef")]
            replayed = [stub.ModelInfer.future(request(), timeout=60, metadata=header) for _ in range(200)]
            with EdgeClient(address, token="fedcba9876543210") as good:
                assert good.stylize(GRAY, STYLE_CODE).image is not None
            codes = Counter(call.code() for call in replayed)
        assert codes[grpc.StatusCode.RESOURCE_EXHAUSTED] == 200 - codes[grpc.StatusCode.OK]
        assert codes[grpc.StatusCode.OK] <= 5


def test_concurrency_is_limited_and_released(start_edge: StartEdge, bundle: Bundle, photo: Photo) -> None:
    limits = Limits(rate=1e6, burst=10**6, max_requests=2, max_requests_per_client=2)
    frame = photo(500, 900)
    with start_edge(bundle, limits=limits) as running, grpc.insecure_channel(running.edge.address) as channel:
        stub = Stub(channel)
        calls = [stub.ModelInfer.future(request(frame=frame[None]), timeout=60) for _ in range(12)]
        codes = {call.code() for call in calls}
        assert grpc.StatusCode.OK in codes
        assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert stub.ModelInfer(request(), timeout=120).outputs


def test_deadline_is_enforced(edge: Edge, stub: Stub, phone: EdgeClient, photo: Photo) -> None:
    frame = np.tile(photo(250, 250), (2, 10, 1))
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(request(frame=frame[None]), timeout=0.02)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    for _ in range(4):
        assert phone.stylize(frame, STYLE_CODE).image is not None


def test_slow_bodies_time_out_and_release_their_slots(start_edge: StartEdge, bundle: Bundle) -> None:
    limits = Limits(rate=1e6, burst=10**6, max_requests=2, max_requests_per_client=2, body_timeout_s=1.0)

    def never() -> Iterator[bytes]:
        time.sleep(30)
        yield b""

    with start_edge(bundle, limits=limits) as running, grpc.insecure_channel(running.edge.address) as channel:
        slow = channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
        calls = [slow.future(never()) for _ in range(2)]
        # Otherwise the client may take one of the two slots first, and a slow call is rejected instead.
        text = running.edge.metrics.text
        running.until(
            lambda: (
                "_requests_inside 2.0\n" in text()
                or 'code="DEADLINE_EXCEEDED",method="ModelInfer",model=""} 2.0\n' in text()
            )
        )
        with EdgeClient(running.edge.address) as client:
            assert client.stylize(GRAY, STYLE_CODE).image is not None
        assert [call.code() for call in calls] == [grpc.StatusCode.DEADLINE_EXCEEDED] * 2
        for call in calls:
            call.cancel()


def test_slow_loris_connections_are_closed(start_edge: StartEdge, bundle: Bundle) -> None:
    limits = Limits(rate=1e6, burst=10**6, handshake_timeout_s=0.5)
    with start_edge(bundle, limits=limits) as running:
        host, _, port = running.edge.address.rpartition(":")
        silent = [socket.create_connection((host, int(port))) for _ in range(50)]
        try:
            for connection in silent:
                connection.sendall(b"PRI * HTTP/2")
            with EdgeClient(running.edge.address) as client:
                assert client.stylize(GRAY, STYLE_CODE).image is not None
            for connection in silent:
                connection.settimeout(120)
                while connection.recv(4096):
                    pass
        finally:
            for connection in silent:
                connection.close()


def test_connections_are_limited_and_idle_ones_are_closed(start_edge: StartEdge, bundle: Bundle) -> None:
    limits = Limits(rate=1e6, burst=10**6, max_connections=20, idle_timeout_s=1.0, handshake_timeout_s=1.0)
    with start_edge(bundle, limits=limits) as running:
        host, _, port = running.edge.address.rpartition(":")
        before = psutil.Process().num_fds()
        many = [socket.create_connection((host, int(port))) for _ in range(200)]
        try:
            for connection in many:
                with suppress(OSError):
                    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
            time.sleep(0.5)
            server_side = psutil.Process().num_fds() - before - len(many)
            assert server_side <= 30
            deadline = time.monotonic() + 10
            with EdgeClient(running.edge.address, patience_s=10) as client:
                assert client.stylize(GRAY, STYLE_CODE).image is not None
            assert time.monotonic() < deadline
        finally:
            for connection in many:
                connection.close()


def test_compressed_messages_are_refused(edge: Edge, phone: EdgeClient) -> None:
    with grpc.insecure_channel(edge.address) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        body = request().SerializeToString()
        assert call(body, timeout=60)
        for compression in (grpc.Compression.Gzip, grpc.Compression.Deflate):
            with pytest.raises(grpc.RpcError) as caught:
                call(body, timeout=60, compression=compression)
            assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
        with pytest.raises(grpc.RpcError, match="too many or too long"):
            call(body + b"\x32\x00" * 100_000, timeout=60)
    assert phone.stylize(GRAY, STYLE_CODE).image is not None


def test_garbage_leaves_no_line_in_the_log(edge: Edge, caplog: pytest.LogCaptureFixture) -> None:
    with grpc.insecure_channel(edge.address) as channel:
        for method in ("ModelInfer", "ServerReady", "ModelMetadata"):
            with pytest.raises(grpc.RpcError, match="malformed"):
                channel.unary_unary(f"/inference.GRPCInferenceService/{method}")(b"\xff" * 50, timeout=60)
        with pytest.raises(grpc.RpcError, match="malformed"):
            channel.unary_unary("/grpc.health.v1.Health/Check")(b"\xff" * 50, timeout=60)
    assert caplog.text == ""


def test_one_address_cannot_use_every_connection(start_edge: StartEdge, bundle: Bundle) -> None:
    limits = Limits(rate=1e6, burst=10**6, max_connections=200, max_connections_per_address=10)
    with start_edge(bundle, limits=limits) as running, EdgeClient(running.edge.address) as client:
        assert client.stylize(GRAY, STYLE_CODE).image is not None
        host, _, port = running.edge.address.rpartition(":")
        many = [socket.create_connection((host, int(port))) for _ in range(60)]
        try:
            for connection in many[:50]:  # the oldest ones are closed, each with an end of file
                connection.settimeout(60)
                with suppress(ConnectionError):
                    while connection.recv(4096):
                        pass
            assert client.stylize(GRAY, STYLE_CODE).image is not None  # on its old connection
        finally:
            for connection in many:
                connection.close()
