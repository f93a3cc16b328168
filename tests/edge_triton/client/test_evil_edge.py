"""Replies of an edge that cannot be trusted: each becomes one line, in time and without much memory."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager, suppress

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from edge_triton.client.client import EdgeClient, EdgeRefusedError, EdgeUnavailableError
from edge_triton.client.grid_codec import pack_grid
from edge_triton.client.jpeg import encode_jpeg
from mvstylizer.errors import MVStylizerError
from mvstylizer.stylizer import Reply

FRAME = np.full((8, 16, 3), 100, np.uint8)
CODE = np.zeros(3, np.float32)
Output = tuple[str, str, tuple[int, ...], bytes | None]
"""Name, datatype, shape, content; None omits the content."""


def bytes_of(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def grid(value: float, shape: tuple[int, ...] = (1, 2, 3, 4, 12)) -> Output:
    return "grid", "FP32", shape, np.full(shape, value, np.float32).tobytes()


def image(*shape: int) -> Output:
    return "stylized", "UINT8", shape, bytes(int(np.prod(shape)))


class EvilEdge(service_pb2_grpc.GRPCInferenceServiceServicer):
    def __init__(self, outputs: tuple[Output, ...], error: str) -> None:
        self.outputs, self.error = outputs, error

    def ModelMetadata(
        self, request: service_pb2.ModelMetadataRequest, context: grpc.ServicerContext
    ) -> service_pb2.ModelMetadataResponse:
        reply = service_pb2.ModelMetadataResponse()
        for name in ("frame_jpeg", "stylized_jpeg", "grid", "grid_packed"):
            reply.outputs.add(name=name)
        return reply

    def ModelInfer(
        self, request: service_pb2.ModelInferRequest, context: grpc.ServicerContext
    ) -> service_pb2.ModelInferResponse:
        if self.error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, self.error)
        reply = service_pb2.ModelInferResponse()
        for name, datatype, shape, content in self.outputs:
            reply.outputs.add(name=name, datatype=datatype, shape=shape)
            if content is not None:
                reply.raw_output_contents.append(content)
        return reply


@contextmanager
def evil(*outputs: Output, error: str = "") -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(1))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(EvilEdge(outputs, error), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def stylized(address: str, reply: Reply, *, frugal: bool) -> object:
    with EdgeClient(address, frugal=frugal, patience_s=0) as client:
        return client.stylize(FRAME, CODE, reply=reply)


def large_jpeg() -> bytes:
    return encode_jpeg(np.zeros((4000, 4000, 3), np.uint8), 50)


WIDE = np.zeros((1, 1, 1, 3, 4), np.float32)
RAW: dict[str, tuple[Reply, tuple[Output, ...]]] = {
    "nothing": ("map", ()),
    "no-content": ("map", (("grid", "FP32", (1, 2, 3, 4, 12), None),)),
    "other-name": ("map", (("affine_map", "FP32", (1, 1, 1, 12), bytes(48)),)),
    "rank-4": ("map", (grid(0.5, (1, 2, 3, 12)),)),
    "huge-number": ("map", (grid(1e30),)),
    "nan": ("map", (grid(np.nan),)),
    "infinite": ("map", (grid(-np.inf),)),
    "wide": ("map", (grid(0.5, (1, 1, 40_000, 1, 12)),)),
    "short": ("map", (("grid", "FP32", (1, 2, 3, 4, 12), bytes(7)),)),
    "negative-shape": ("map", (("grid", "FP32", (1, -1, -1, -1, 12), bytes(48)),)),
    "overflowing-shape": ("map", (("grid", "FP32", (1, 2**62, 4, 1, 12), bytes(0)),)),
    "unknown-type": ("map", (("grid", "FP7", (1, 1, 1, 1, 12), bytes(48)),)),
    "zero-image": ("image", (image(1, 0, 16, 3),)),
    "large-image": ("image", (image(1, 800, 1600, 3),)),
    "gray-image": ("image", (image(1, 8, 16, 1),)),
}
FRUGAL: dict[str, tuple[Reply, tuple[Output, ...]]] = {
    "no-prefix": ("map", (("grid_packed", "BYTES", (1,), b"\x01"),)),
    "short-bytes": ("map", (("grid_packed", "BYTES", (1,), struct.pack("<I", 9999) + b"x"),)),
    "two-elements": ("map", (("grid_packed", "BYTES", (1,), bytes_of(pack_grid(WIDE), b"x")),)),
    "no-element": ("map", (("grid_packed", "BYTES", (0,), b""),)),
    "old-map": ("map", (("grid_packed", "BYTES", (1,), bytes_of(b"MVA1" + bytes(100))),)),
    "garbage": ("map", (("grid_packed", "BYTES", (1,), bytes_of(bytes(range(200)))),)),
    "large-jpeg": ("image", (("stylized_jpeg", "BYTES", (1,), bytes_of(large_jpeg())),)),
    "no-jpeg": ("image", (("stylized_jpeg", "BYTES", (1,), bytes_of(b"GIF89a")),)),
}


@pytest.mark.parametrize(("reply", "outputs"), RAW.values(), ids=RAW)
def test_a_wrong_raw_reply_is_refused(reply: Reply, outputs: tuple[Output, ...]) -> None:
    with evil(*outputs) as address, pytest.raises(EdgeUnavailableError, match="sent a wrong reply"):
        stylized(address, reply, frugal=False)


@pytest.mark.parametrize(("reply", "outputs"), FRUGAL.values(), ids=FRUGAL)
def test_a_wrong_encoded_reply_is_refused(reply: Reply, outputs: tuple[Output, ...]) -> None:
    with evil(*outputs) as address, pytest.raises(EdgeUnavailableError, match="sent a wrong reply"):
        stylized(address, reply, frugal=True)


@pytest.mark.parametrize("code", [(1, 3, 1), (2, 3), (1, 0), (1, 1 << 17)])
def test_a_wrong_style_code_is_refused(code: tuple[int, ...]) -> None:
    content = bytes(4 * int(np.prod(code)))
    with (
        evil(("style_code", "FP32", code, content)) as address,
        EdgeClient(address, patience_s=0) as client,
        pytest.raises(EdgeUnavailableError, match="sent a wrong reply"),
    ):
        client.encode_style(FRAME)


def test_control_characters_of_an_edge_do_not_reach_the_terminal() -> None:
    with (
        evil(error="\x1b]0;owned\x07\x1b[2J" + "x" * 5000) as address,
        pytest.raises(EdgeRefusedError) as caught,
    ):
        stylized(address, "map", frugal=False)
    line = str(caught.value)
    assert line.isprintable()
    assert "owned" in line
    assert len(line) < 1200


@pytest.mark.parametrize("make", [lambda text: MVStylizerError(text)])
def test_every_error_is_one_printable_line(make: Callable[[str], MVStylizerError]) -> None:
    assert str(make("a\x1b[31m\nb\ud800")).isprintable()


class Trickle:
    """An HTTP/2 server that announces a reply of 200 MB, and sends a kilobyte of it now and then."""

    LENGTH = 200 << 20

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Trickle:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.listener.close()
        self.thread.join()

    def _serve(self) -> None:
        with suppress(OSError):
            connection = self.listener.accept()[0]
            with connection:
                connection.sendall(frame(4, 0, 0) + frame(8, 0, 0, (1 << 24).to_bytes(4, "big")))
                stream = connection.makefile("rb")
                stream.read(24)  # the preface
                header = stream.read(9)
                while header[3] != 1:  # until the call's own headers have come
                    stream.read(int.from_bytes(header[:3], "big"))
                    header = stream.read(9)
                # Indexed ":status: 200", and a literal "content-type: application/grpc".
                headers = b"\x88\x0f\x10\x10application/grpc"
                connection.sendall(frame(4, 1, 0) + frame(1, 4, 1, headers))
                connection.sendall(frame(0, 0, 1, b"\0" + self.LENGTH.to_bytes(4, "big")))
                while not self.over.wait(0.05):
                    connection.sendall(frame(0, 0, 1, bytes(1024)))


def frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


def test_an_endless_reply_is_given_up_at_the_deadline() -> None:
    with (
        Trickle() as server,
        EdgeClient(server.address, timeout_s=1.0, patience_s=0) as client,
        pytest.raises(EdgeUnavailableError, match=r"did not answer within 1 s"),
    ):
        client.stylize(FRAME, CODE)


def test_a_reply_beyond_the_limit_is_given_up_at_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trickle, "LENGTH", 600 << 20)
    with (
        Trickle() as server,
        EdgeClient(server.address, timeout_s=60.0, patience_s=0) as client,
        pytest.raises(EdgeRefusedError, match="too large"),
    ):
        client.stylize(FRAME, CODE)
