"""Requests that the gateway must reject."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2, service_pb2_grpc

from edge_triton.client.client import EdgeClient, EdgeRefusedError
from edge_triton.client.jpeg import encode_jpeg
from edge_triton.edge import Edge
from edge_triton.gateway.guard import Limits
from mvstylizer.bundle import Bundle
from tests.edge_triton.gateway.messages import GRAY, STYLE_CODE, request

pytestmark = pytest.mark.server
StartEdge = Callable[..., Any]
Stub = service_pb2_grpc.GRPCInferenceServiceStub


def with_shape(*shape: int, body: bytes = b"", index: int = 0) -> service_pb2.ModelInferRequest:
    message = request()
    message.inputs[index].shape[:] = shape
    message.raw_input_contents[index] = body
    return message


def with_output(name: str) -> service_pb2.ModelInferRequest:
    message = request()
    message.outputs.add(name=name)
    return message


def with_jpeg(data: bytes, prefix: int | None = None) -> service_pb2.ModelInferRequest:
    message = request(frame=None)
    message.inputs.add(name="frame_jpeg", datatype="BYTES", shape=[1])
    length = len(data) if prefix is None else prefix
    message.raw_input_contents.append(length.to_bytes(4, "little") + data)
    return message


def altered(name: str, *values: Any) -> service_pb2.ModelInferRequest:
    message = request()
    for value in values:
        if name == "region":
            message.inputs[0].parameters["shared_memory_region"].string_param = value
        elif name == "output_region":
            message.outputs.add(name="stylized").parameters["shared_memory_region"].string_param = value
        elif name == "class":
            message.outputs.add(name="stylized").parameters["classification"].int64_param = value
        elif name == "sequence":
            message.parameters["sequence_id"].int64_param = value
        elif name == "no_bytes":
            del message.raw_input_contents[:]
        elif name == "quality":
            message.parameters["jpeg_quality"].int64_param = value
        else:
            setattr(message, name, value)
    return message


def twice(side: str) -> service_pb2.ModelInferRequest:
    message = request()
    if side == "input":
        message.inputs.append(message.inputs[0])
        message.raw_input_contents.append(message.raw_input_contents[0])
    else:
        message.outputs.add(name="stylized")
        message.outputs.add(name="stylized")
    return message


def jpeg_file(height: int = 48, width: int = 64) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return encode_jpeg(noise, 90)


def bomb(height: int = 65500, width: int = 65500) -> bytes:
    """A small JPEG whose header claims gigabytes."""
    data = bytearray(jpeg_file())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(data)


def progressive(height: int, width: int, scans: int) -> bytes:
    """A progressive JPEG that repeats its last scan."""
    flags = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
    data = cv2.imencode(".jpg", np.zeros((height, width, 3), np.uint8), flags)[1].tobytes()
    last = data[data.rfind(b"\xff\xda") : -2]
    return data[:-2] + last * (scans - data.count(b"\xff\xda")) + data[-2:]


PNG = cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes()
NAN = np.full((1, 3), np.nan, np.float32)
INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND


BAD = {
    "dims-overflow": (with_shape(2**31, 2**31, 4, 3), INVALID),
    "dims-overflow-inside": (with_shape(1, 2**31, 2**31, 3), INVALID),
    "dims-wrap-to-the-right-size": (with_shape(1, 2**62 + 8, 8, 3, body=GRAY.tobytes()), INVALID),
    "dims-huge": (with_shape(1, 2**40, 1, 3), INVALID),
    "dims-negative": (with_shape(1, -8, -8, 3, body=GRAY.tobytes()), INVALID),
    "dims-minus-one": (with_shape(1, -1, 8, 3, body=GRAY.tobytes()), INVALID),
    "empty-body": (with_shape(1, 8, 8, 3), INVALID),
    "short-body": (with_shape(1, 8, 8, 3, body=GRAY.tobytes()[:-1]), INVALID),
    "long-body": (with_shape(1, 8, 8, 3, body=GRAY.tobytes() + b"x"), INVALID),
    "zero-height": (with_shape(1, 0, 8, 3), INVALID),
    "rank-3": (with_shape(8, 8, 3, body=GRAY.tobytes()), INVALID),
    "rank-0": (with_shape(body=b""), INVALID),
    "batch-of-2": (request(frame=np.stack([GRAY, GRAY])), INVALID),
    "four-channels": (request(frame=np.zeros((1, 8, 8, 4), np.uint8)), INVALID),
    "float-frame": (request(frame=GRAY[None].astype(np.float32)), INVALID),
    "int-factor": (request(r=np.array([1])), INVALID),
    "no-frame": (request(frame=None), INVALID),
    "unknown-input": (request(extra=np.zeros((1,), np.float32)), INVALID),
    "jpeg-of-a-number": (request(r=None, r_jpeg=np.array([b"x"], np.object_)), INVALID),
    "frame-twice": (twice("input"), INVALID),
    "frame-raw-and-jpeg": (request(frame_jpeg=np.array([jpeg_file()], np.object_)), INVALID),
    "no-bytes-at-all": (altered("no_bytes", None), INVALID),
    "long-code": (request(style_code=np.zeros((1, 4), np.float32)), INVALID),
    "nan-code": (request(style_code=NAN), INVALID),
    "infinite-code": (request(style_code=NAN * 0 + np.inf), INVALID),
    "zero-factor": (request(r=np.array([0], np.float32)), INVALID),
    "negative-factor": (request(r=np.array([-1], np.float32)), INVALID),
    "nan-factor": (request(r=np.array([np.nan], np.float32)), INVALID),
    "tiny-factor": (request(r=np.array([1e-9], np.float32)), INVALID),
    "huge-factor": (request(r=np.array([3e38], np.float32)), INVALID),
    "large-factor": (request(r=np.array([5000], np.float32)), INVALID),
    "unknown-output": (with_output("../../etc/passwd"), INVALID),
    "jpeg-of-a-map": (with_output("grid_jpeg"), INVALID),
    "packed-image": (with_output("stylized_packed"), INVALID),
    "output-twice": (twice("output"), INVALID),
    "foreign-shared-memory-in": (altered("region", "region"), INVALID),
    "foreign-shared-memory-out": (altered("output_region", "region"), INVALID),
    "sequence": (altered("sequence", 7), INVALID),
    "classification": (altered("class", 3), INVALID),
    "thin-jpeg": (with_jpeg(encode_jpeg(np.zeros((1, 65500, 3), np.uint8), 50)), INVALID),
    "thin-frame": (request(frame=np.zeros((1, 1, 100_000, 3), np.uint8)), INVALID),
    "tall-frame": (request(frame=np.zeros((1, 73, 2, 3), np.uint8)), INVALID),
    "many-scans": (with_jpeg(progressive(4600, 4600, 64)), INVALID),
    "quality-0": (altered("quality", 0), INVALID),
    "quality-101": (altered("quality", 101), INVALID),
    "bomb": (with_jpeg(bomb()), INVALID),
    "bomb-by-width": (with_jpeg(bomb(1000, 65500)), INVALID),
    "zero-size-jpeg": (with_jpeg(bomb(0, 64)), INVALID),
    "garbage": (with_jpeg(bytes(range(256)) * 8), INVALID),
    "garbage-after-the-mark": (with_jpeg(b"\xff\xd8" + bytes(range(256)) * 8), INVALID),
    "truncated": (with_jpeg(jpeg_file()[:-200]), INVALID),
    "header-only": (with_jpeg(jpeg_file()[:300]), INVALID),
    "empty-jpeg": (with_jpeg(b""), INVALID),
    "png-in-disguise": (with_jpeg(PNG), INVALID),
    "endless-header": (with_jpeg(b"\xff\xd8" + b"\xff\xe0\x00\x02" * 1000 + jpeg_file()[2:]), INVALID),
    "endless-scans": (with_jpeg(jpeg_file()[:-2] + b"\xff\xda" * 1000 + b"\xff\xd9"), INVALID),
    "prefix-too-long": (with_jpeg(jpeg_file(), prefix=2**32 - 1), INVALID),
    "prefix-too-short": (with_jpeg(jpeg_file(), prefix=3), INVALID),
    "unknown-model": (altered("model_name", "conv"), NOT_FOUND),
    "model-path": (altered("model_name", "../stylizer"), NOT_FOUND),
    "no-model": (altered("model_name", ""), NOT_FOUND),
    "other-version": (altered("model_version", "2"), NOT_FOUND),
    "version-path": (altered("model_version", "../1"), NOT_FOUND),
    "version-in-other-digits": (altered("model_version", "\u0661"), NOT_FOUND),
    "version-with-sign": (altered("model_version", "+1"), NOT_FOUND),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_requests_are_rejected_and_the_edge_survives(stub: Stub, phone: EdgeClient, name: str) -> None:
    message, status = BAD[name]
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(message, timeout=120)
    assert caught.value.code() == status
    assert not set("/\\") & set(caught.value.details())
    assert phone.stylize(GRAY, STYLE_CODE).image is not None


@pytest.fixture(scope="module")
def healthy(edge: Edge) -> Iterator[Callable[[], None]]:
    """Send a valid request, and fail if it is not answered."""
    with EdgeClient(edge.address) as client:

        def send() -> None:
            assert client.stylize(GRAY, STYLE_CODE).image is not None

        yield send


@settings(deadline=None, max_examples=40)
@given(st.binary(max_size=200))
def test_malformed_messages_are_rejected(edge: Edge, healthy: Callable[[], None], data: bytes) -> None:
    with grpc.insecure_channel(edge.address) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as caught:
            call(data, timeout=120)
    assert caught.value.code() in (INVALID, NOT_FOUND, grpc.StatusCode.INTERNAL)
    healthy()


def test_methods_that_change_the_server_do_not_exist(stub: Stub) -> None:
    for call in (
        lambda: stub.RepositoryModelLoad(service_pb2.RepositoryModelLoadRequest(model_name="stylizer")),
        lambda: stub.RepositoryModelUnload(service_pb2.RepositoryModelUnloadRequest(model_name="stylizer")),
        lambda: stub.RepositoryIndex(service_pb2.RepositoryIndexRequest()),
        lambda: stub.SystemSharedMemoryRegister(service_pb2.SystemSharedMemoryRegisterRequest()),
        lambda: stub.LogSettings(service_pb2.LogSettingsRequest()),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_message_of_400_mb_is_rejected(edge: Edge, phone: EdgeClient) -> None:
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(edge.address, options) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as caught:
            call(bytes(400 << 20), timeout=60)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert phone.stylize(GRAY, STYLE_CODE).image is not None


def test_error_says_that_the_frame_is_too_large(start_edge: StartEdge, bundle: Bundle) -> None:
    limits = Limits(max_message_bytes=100_000, max_pixels=30_000)
    with start_edge(bundle, limits=limits) as running:
        with EdgeClient(running.edge.address) as client:
            with pytest.raises(EdgeRefusedError, match="too large"):
                client.encode_style(np.zeros((400, 400, 3), np.uint8))
            with pytest.raises(EdgeRefusedError, match="larger than this edge allows"):
                client.encode_style(np.zeros((190, 170, 3), np.uint8))
        with (
            EdgeClient(running.edge.address, jpeg_quality=50) as client,
            pytest.raises(EdgeRefusedError, match="larger than this edge allows"),
        ):
            client.encode_style(np.zeros((400, 400, 3), np.uint8))


def test_scans_are_limited_by_the_work_that_they_cause(edge: Edge, stub: Stub) -> None:
    good = with_jpeg(progressive(240, 320, 10))
    assert stub.ModelInfer(good, timeout=60).outputs
    bad = with_jpeg(progressive(4600, 4600, 64))
    begin = time.monotonic()
    for _ in range(16):
        with pytest.raises(grpc.RpcError, match="more scans than this edge decodes"):
            stub.ModelInfer(bad, timeout=60)
    assert time.monotonic() - begin < 5
    assert stub.ModelInfer(good, timeout=2).outputs
