"""The gateway in front of the real server: what it passes on, and what it refuses."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2, service_pb2_grpc

from edge_triton.client.client import EdgeClient, EdgeRefusedError, EdgeUnavailableError
from edge_triton.client.jpeg import encode_jpeg
from edge_triton.edge import Edge
from edge_triton.gateway.guard import Limits
from edge_triton.triton.server import TritonServer
from mvstylizer.bundle import Bundle

pytestmark = pytest.mark.server

Photo = Callable[[int, int], np.ndarray]
StartEdge = Callable[..., Any]
Stub = service_pb2_grpc.GRPCInferenceServiceStub
STYLE_CODE = np.array([0.2, 0.5, 0.8], np.float32)
GREY = np.full((8, 8, 3), 100, np.uint8)


def test_gateway_gives_what_triton_gives(phone: EdgeClient, client: EdgeClient, photo: Photo) -> None:
    # Small ones travel in messages, large ones through shared memory, in both directions.
    for height, width, r in [(8, 8, 1.0), (37, 91, 2.5), (500, 900, 1.0), (90, 90, 5.3), (500, 1300, 0.1)]:
        ours = phone.stylize(photo(height, width), STYLE_CODE, r=r, reply="both")
        theirs = client.stylize(photo(height, width), STYLE_CODE, r=r, reply="both")
        np.testing.assert_array_equal(ours.image, theirs.image)
        np.testing.assert_array_equal(ours.affine_map, theirs.affine_map)
    np.testing.assert_array_equal(phone.encode_style(GREY), client.encode_style(GREY))


def test_slots_are_not_mixed_up(edge: Edge, photo: Photo) -> None:
    frames = [np.full((300, 300 + 10 * n, 3), 10 * n, np.uint8) for n in range(6)]
    wrong: list[int] = []

    def use(n: int) -> None:
        with EdgeClient(edge.address) as client:
            for _ in range(8):
                image = client.stylize(frames[n], np.zeros(3, np.float32)).image
                if image is None or image.shape != frames[n].shape or (image != 5 * n).any():
                    wrong.append(n)

    threads = [threading.Thread(target=use, args=(n,)) for n in range(len(frames))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_shared_memory_is_used_and_can_be_missing(
    start_edge: StartEdge, bundle: Bundle, photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = photo(400, 640)
    with start_edge(bundle) as running, EdgeClient(running.edge.address) as client:
        shared = client.stylize(frame, STYLE_CODE).image
        assert "mvstylizer_shared_memory_bytes 16777216" in running.edge.metrics.text()

    def no_room(*_: object) -> None:
        raise OSError

    with start_edge(bundle) as running, EdgeClient(running.edge.address) as client:
        monkeypatch.setattr("edge_triton.gateway.triton_channel.SharedSlot", no_room)
        np.testing.assert_array_equal(client.stylize(frame, STYLE_CODE).image, shared)
        assert "mvstylizer_shared_memory_bytes 0" in running.edge.metrics.text()


def test_unmodified_tritonclient(edge: Edge) -> None:
    with triton.InferenceServerClient(edge.address) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("stylizer")
        assert client.is_model_ready("stylizer", "1")
        assert client.get_server_metadata().name == "mvstylizer"
        metadata = client.get_model_metadata("stylizer")
        rows = {(t.name, t.datatype, tuple(t.shape)) for t in metadata.inputs}
        assert {("frame", "UINT8", (1, -1, -1, 3)), ("frame_jpeg", "BYTES", (1,))} <= rows
        assert list(metadata.versions) == ["1"]
        result = client.infer("stylizer", feed(), request_id="seven")
        assert result.as_numpy("stylized").shape == (1, 8, 8, 3)
        assert result.as_numpy("affine_map").shape == (1, 1, 1, 12)
        assert result.get_response().id == "seven"
        assert result.get_response().model_version == "1"


def test_jpeg_both_ways(edge: Edge, phone: EdgeClient, photo: Photo) -> None:
    frame = cv2.GaussianBlur(photo(240, 320), (0, 0), 3)
    raw = phone.stylize(frame, STYLE_CODE, r=1.5, reply="both")
    with EdgeClient(edge.address, jpeg_quality=95) as client:
        packed = client.stylize(frame, STYLE_CODE, r=1.5, reply="both")
        code = client.encode_style(frame)
    assert raw.image is not None
    assert packed.image is not None
    assert packed.image.shape == raw.image.shape
    assert np.abs(packed.image.astype(int) - raw.image).mean() < 2
    np.testing.assert_array_equal(packed.affine_map, raw.affine_map)
    np.testing.assert_allclose(code, phone.encode_style(frame), atol=0.01)


def test_a_frugal_client_spares_bytes_where_it_can(
    edge: Edge, phone: EdgeClient, server: TritonServer, photo: Photo
) -> None:
    frame = cv2.GaussianBlur(photo(240, 320), (0, 0), 1)
    raw = phone.stylize(frame, STYLE_CODE, reply="both")
    with EdgeClient(edge.address, frugal=True) as client, EdgeClient(server.address, frugal=True) as plain:
        spared = client.stylize(frame, STYLE_CODE, reply="both")
        untouched = plain.stylize(frame, STYLE_CODE, reply="both")
    assert raw.image is not None
    assert spared.image is not None
    assert raw.sent == frame.nbytes + STYLE_CODE.nbytes + 4 == untouched.sent
    assert spared.sent < 240 * 320 * 2.2 / 8 + 100
    assert spared.received < raw.received / 4
    assert np.abs(spared.image.astype(int) - raw.image).mean() < 4
    np.testing.assert_allclose(spared.affine_map, raw.affine_map, atol=0.01)  # JPEG changes what is seen
    np.testing.assert_array_equal(untouched.affine_map, raw.affine_map)


KINDS = {"uint8": "UINT8", "float32": "FP32", "int64": "INT64", "object": "BYTES"}


def feed(**changes: Any) -> list[triton.InferInput]:
    """A good request of the stylizer with some tensors replaced; None leaves one out."""
    arrays = {
        "frame": GREY[None],
        "style_code": STYLE_CODE[None],
        "r": np.array([1], np.float32),
        **changes,
    }
    tensors = []
    for name, value in arrays.items():
        if value is not None:
            tensors.append(triton.InferInput(name, list(value.shape), KINDS[value.dtype.name]))
            tensors[-1].set_data_from_numpy(value)
    return tensors


def request(**changes: Any) -> service_pb2.ModelInferRequest:
    """A good request as a message."""
    message = service_pb2.ModelInferRequest(model_name="stylizer")
    for tensor in feed(**changes):
        message.inputs.append(tensor._get_tensor())
        message.raw_input_contents.append(tensor._get_content())
    return message


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


PNG = cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes()
NAN = np.full((1, 3), np.nan, np.float32)
INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
BAD = {
    "dims-overflow": (with_shape(2**31, 2**31, 4, 3), INVALID),
    "dims-overflow-inside": (with_shape(1, 2**31, 2**31, 3), INVALID),
    "dims-wrap-to-the-right-size": (with_shape(1, 2**62 + 8, 8, 3, body=GREY.tobytes()), INVALID),
    "dims-huge": (with_shape(1, 2**40, 1, 3), INVALID),
    "dims-negative": (with_shape(1, -8, -8, 3, body=GREY.tobytes()), INVALID),
    "dims-minus-one": (with_shape(1, -1, 8, 3, body=GREY.tobytes()), INVALID),
    "empty-body": (with_shape(1, 8, 8, 3), INVALID),
    "short-body": (with_shape(1, 8, 8, 3, body=GREY.tobytes()[:-1]), INVALID),
    "long-body": (with_shape(1, 8, 8, 3, body=GREY.tobytes() + b"x"), INVALID),
    "zero-height": (with_shape(1, 0, 8, 3), INVALID),
    "rank-3": (with_shape(8, 8, 3, body=GREY.tobytes()), INVALID),
    "rank-0": (with_shape(body=b""), INVALID),
    "batch-of-2": (request(frame=np.stack([GREY, GREY])), INVALID),
    "four-channels": (request(frame=np.zeros((1, 8, 8, 4), np.uint8)), INVALID),
    "float-frame": (request(frame=GREY[None].astype(np.float32)), INVALID),
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
    "jpeg-of-a-map": (with_output("affine_map_jpeg"), INVALID),
    "packed-image": (with_output("stylized_packed"), INVALID),
    "output-twice": (twice("output"), INVALID),
    "foreign-shared-memory-in": (altered("region", "region"), INVALID),
    "foreign-shared-memory-out": (altered("output_region", "region"), INVALID),
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
}  # fmt: skip


@pytest.fixture(scope="module")
def stub(edge: Edge) -> Iterator[Stub]:
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(edge.address, options) as channel:
        yield Stub(channel)


@pytest.mark.parametrize("name", BAD)
def test_bad_requests_are_refused_and_the_edge_goes_on(stub: Stub, phone: EdgeClient, name: str) -> None:
    message, status = BAD[name]
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(message, timeout=120)
    assert caught.value.code() == status
    assert not set("/\\") & set(caught.value.details())
    assert phone.stylize(GREY, STYLE_CODE).image is not None


@pytest.fixture(scope="module")
def healthy(edge: Edge) -> Iterator[Callable[[], None]]:
    """Send a good request, and fail when it is not answered."""
    with EdgeClient(edge.address) as client:

        def send() -> None:
            assert client.stylize(GREY, STYLE_CODE).image is not None

        yield send


@settings(deadline=None, max_examples=40)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_message(edge: Edge, healthy: Callable[[], None], data: bytes) -> None:
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


def test_message_of_400_mb_is_not_read(edge: Edge, phone: EdgeClient) -> None:
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(edge.address, options) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as caught:
            call(bytes(400 << 20), timeout=60)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert phone.stylize(GREY, STYLE_CODE).image is not None


def test_frame_over_the_limit_is_named_to_the_user(start_edge: StartEdge, bundle: Bundle) -> None:
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


def test_flood_is_throttled_for_its_client(start_edge: StartEdge, bundle: Bundle) -> None:
    limits = Limits(rate=0.001, burst=5)
    with start_edge(bundle, limits=limits) as running, grpc.insecure_channel(running.edge.address) as channel:
        stub = Stub(channel)
        codes = []
        for _ in range(20):  # the same request again and again
            try:
                stub.ModelInfer(request(), timeout=120)
                codes.append(grpc.StatusCode.OK)
            except grpc.RpcError as err:
                codes.append(err.code())
                pushback = dict(err.trailing_metadata())["grpc-retry-pushback-ms"]
        assert codes == [grpc.StatusCode.OK] * 5 + [grpc.StatusCode.RESOURCE_EXHAUSTED] * 15
        assert int(pushback) > 0


def test_flood_of_one_client_leaves_another_alone(
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
                assert good.stylize(GREY, STYLE_CODE).image is not None
            codes = Counter(call.code() for call in replayed)
        assert codes[grpc.StatusCode.RESOURCE_EXHAUSTED] == 200 - codes[grpc.StatusCode.OK]
        assert codes[grpc.StatusCode.OK] <= 5


def test_places_are_bounded_and_given_back(start_edge: StartEdge, bundle: Bundle, photo: Photo) -> None:
    limits = Limits(rate=1e6, burst=10**6, places=2, places_each=2)
    frame = photo(500, 900)
    with start_edge(bundle, limits=limits) as running, grpc.insecure_channel(running.edge.address) as channel:
        stub = Stub(channel)
        calls = [stub.ModelInfer.future(request(frame=frame[None]), timeout=60) for _ in range(12)]
        codes = {call.code() for call in calls}
        assert grpc.StatusCode.OK in codes
        assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert stub.ModelInfer(request(), timeout=120).outputs


def test_deadline_is_kept(edge: Edge, stub: Stub, phone: EdgeClient, photo: Photo) -> None:
    frame = np.tile(photo(250, 250), (2, 10, 1))
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(request(frame=frame[None]), timeout=0.02)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    for _ in range(4):
        assert phone.stylize(frame, STYLE_CODE).image is not None


def test_slow_bodies_do_not_hold_a_place(start_edge: StartEdge, bundle: Bundle) -> None:
    limits = Limits(rate=1e6, burst=10**6, places=2, places_each=2, body_s=1.0)

    def never() -> Iterator[bytes]:
        time.sleep(30)
        yield b""

    with start_edge(bundle, limits=limits) as running, grpc.insecure_channel(running.edge.address) as channel:
        slow = channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
        calls = [slow.future(never()) for _ in range(2)]
        # Else the phone may have one of the two places first, and a slow call is refused in its stead.
        text = running.edge.metrics.text
        running.until(lambda: "_requests_inside 2\n" in text() or 'code="DEADLINE_EXCEEDED"} 2\n' in text())
        with EdgeClient(running.edge.address) as client:
            assert client.stylize(GREY, STYLE_CODE).image is not None
        assert [call.code() for call in calls] == [grpc.StatusCode.DEADLINE_EXCEEDED] * 2
        for call in calls:
            call.cancel()


def test_slow_loris_connections_are_closed(start_edge: StartEdge, bundle: Bundle) -> None:
    limits = Limits(rate=1e6, burst=10**6, handshake_s=0.5)
    with start_edge(bundle, limits=limits) as running:
        host, _, port = running.edge.address.rpartition(":")
        silent = [socket.create_connection((host, int(port))) for _ in range(50)]
        try:
            for connection in silent:
                connection.sendall(b"PRI * HTTP/2")
            with EdgeClient(running.edge.address) as client:
                assert client.stylize(GREY, STYLE_CODE).image is not None
            for connection in silent:
                connection.settimeout(120)
                while connection.recv(4096):
                    pass
        finally:
            for connection in silent:
                connection.close()


def test_errors_inside_the_model_are_told_without_detail(edge: Edge, photo: Photo) -> None:
    with (
        EdgeClient(edge.address, patience_s=0) as client,
        pytest.raises(EdgeUnavailableError, match="the model failed on this input"),
    ):
        client.stylize(photo(600, 20), STYLE_CODE)  # the bundle's image branch fails above 512 rows
