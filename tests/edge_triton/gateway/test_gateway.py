"""The gateway in front of the real server: the same answers as Triton's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2_grpc

from edge_triton.client.client import EdgeClient, EdgeUnavailableError
from edge_triton.edge import Edge
from edge_triton.gateway.style_cache import ENTRY_BYTES
from edge_triton.triton.server import TritonServer
from mvstylizer.bundle import Bundle
from tests.edge_triton.gateway.messages import GRAY, STYLE_CODE, feed, request

pytestmark = pytest.mark.server
Photo = Callable[[int, int], np.ndarray]
StartEdge = Callable[..., Any]
Stub = service_pb2_grpc.GRPCInferenceServiceStub


def test_gateway_answers_equal_tritons(phone: EdgeClient, client: EdgeClient, photo: Photo) -> None:
    # Small tensors travel in messages, large ones through shared memory, in both directions.
    for height, width, r in [(8, 8, 1.0), (37, 91, 2.5), (500, 900, 1.0), (90, 90, 5.3), (500, 1300, 0.1)]:
        ours = phone.stylize(photo(height, width), STYLE_CODE, r=r, reply="both")
        theirs = client.stylize(photo(height, width), STYLE_CODE, r=r, reply="both")
        np.testing.assert_array_equal(ours.image, theirs.image)
        np.testing.assert_array_equal(ours.grid, theirs.grid)
    np.testing.assert_array_equal(phone.encode_style(GRAY), client.encode_style(GRAY))


def test_concurrent_clients_get_their_own_images(edge: Edge, photo: Photo) -> None:
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


def test_shared_memory_is_used_but_optional(
    start_edge: StartEdge, bundle: Bundle, photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = photo(400, 640)
    with start_edge(bundle) as running, EdgeClient(running.edge.address) as client:
        shared = client.stylize(frame, STYLE_CODE).image
        assert "mvstylizer_shared_memory_bytes 1.6777216e+07" in running.edge.metrics.text()

    def no_room(*_: object) -> None:
        raise OSError

    with start_edge(bundle) as running, EdgeClient(running.edge.address) as client:
        monkeypatch.setattr("edge_triton.gateway.triton_channel.SharedSlot", no_room)
        np.testing.assert_array_equal(client.stylize(frame, STYLE_CODE).image, shared)
        assert "mvstylizer_shared_memory_bytes 0.0" in running.edge.metrics.text()


def test_unmodified_tritonclient_works(edge: Edge) -> None:
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
        assert result.as_numpy("grid").shape == (1, 1, 1, 2, 12)
        assert result.get_response().id == "seven"
        assert result.get_response().model_version == "1"


def test_parameters_that_change_nothing_are_ignored(edge: Edge, stub: Stub, phone: EdgeClient) -> None:
    # What kserve.InferenceGRPCClient and Triton's HTTP front end add.
    message = request()
    for tensor in message.inputs:
        tensor.parameters["binary_data_size"].int64_param = 192
    message.outputs.add(name="stylized").parameters["binary_data"].bool_param = True
    message.parameters["binary_data_output"].bool_param = True
    message.parameters["content_type"].string_param = "application/x"
    reply = stub.ModelInfer(message, timeout=60)
    image = phone.stylize(GRAY, STYLE_CODE).image
    assert image is not None
    assert reply.raw_output_contents[0] == image.tobytes()


def test_a_parameter_that_would_change_the_answer_is_named(stub: Stub) -> None:
    for name, kind in (("shared_memory_region", "shared memory"), ("sequence_id", "sequence")):
        message = request()
        message.inputs[0].parameters[name].string_param = "x"
        with pytest.raises(grpc.RpcError, match=f"{kind} parameters are not accepted"):
            stub.ModelInfer(message, timeout=60)


def test_jpeg_in_both_directions(edge: Edge, phone: EdgeClient, photo: Photo) -> None:
    frame = cv2.GaussianBlur(photo(240, 320), (0, 0), 3)
    raw = phone.stylize(frame, STYLE_CODE, r=1.5, reply="both")
    with EdgeClient(edge.address, jpeg_quality=95) as client:
        packed = client.stylize(frame, STYLE_CODE, r=1.5, reply="both")
        code = client.encode_style(frame)
    assert raw.image is not None
    assert packed.image is not None
    assert packed.image.shape == raw.image.shape
    assert np.abs(packed.image.astype(int) - raw.image).mean() < 2
    np.testing.assert_array_equal(packed.grid, raw.grid)
    np.testing.assert_allclose(code, phone.encode_style(frame), atol=0.01)


def test_frugal_client_saves_bytes_with_a_gateway_only(
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
    np.testing.assert_allclose(spared.grid, raw.grid, atol=0.01)  # JPEG changes the input
    np.testing.assert_array_equal(untouched.grid, raw.grid)


def test_model_errors_reveal_no_detail(edge: Edge, photo: Photo) -> None:
    with (
        EdgeClient(edge.address, patience_s=0) as client,
        pytest.raises(EdgeUnavailableError, match="the model failed on this input"),
    ):
        client.stylize(photo(600, 20), STYLE_CODE)  # the tiny stylizer fails above 512 rows


def test_cached_styles_belong_to_a_client_and_leave_with_it(
    start_edge: StartEdge, bundle: Bundle, tmp_path: Path, photo: Photo
) -> None:
    (tmp_path / "tokens").write_text("ann 0123456789abcdef\nbob fedcba9876543210\n")
    with start_edge(bundle, token_file=tmp_path / "tokens") as running:
        text, address = running.edge.metrics.text, running.edge.address
        with (
            EdgeClient(address, token="0123456789abcdef") as ann,
            EdgeClient(address, token="fedcba9876543210") as bob,
        ):
            for client in (ann, bob):
                client.encode_style(photo(40, 50))
            assert "\nmvstylizer_styles 2.0\n" in text()
            ann.forget_me()
            assert (
                "\nmvstylizer_styles 2.0\n" in text()
            )  # bob's photo, and the gray one of the request itself
            assert f"\nmvstylizer_style_bytes {40 * 50 * 3 + 16 * 16 * 3 + 2 * ENTRY_BYTES}.0\n" in text()
