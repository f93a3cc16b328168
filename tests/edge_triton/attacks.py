"""Attacks on an edge, as programs: ``python -m tests.edge_triton.attacks NAME ADDRESS CA TOKEN``.

They last as long as `SECONDS`, whatever the edge does.
"""

from __future__ import annotations

import gzip
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import grpc
import numpy as np
from tritonclient.grpc import service_pb2

from edge_triton.client.jpeg import encode_jpeg
from tests.edge_triton.gateway.messages import request

SECONDS = 10.0
FRAME = np.random.default_rng(0).integers(0, 256, (288, 512, 3)).astype(np.uint8)
LITE_CODE = np.full((1, 257), 0.1, np.float32)
INFER = "/inference.GRPCInferenceService/ModelInfer"


class Target:
    """The edge under attack."""

    def __init__(self, address: str, ca: Path, token: str) -> None:
        self.address, self.ca = address, ca
        self.header = [("authorization", f"Bearer {token}")]
        self.until = time.monotonic() + SECONDS

    @property
    def is_on(self) -> bool:
        return time.monotonic() < self.until

    def channel(self, **options: Any) -> grpc.Channel:
        credentials = grpc.ssl_channel_credentials(self.ca.read_bytes())
        pairs = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        return grpc.secure_channel(self.address, credentials, [*pairs, *options.items()])

    def connect(self) -> socket.socket:
        host, _, port = self.address.rpartition(":")
        context = ssl.create_default_context(cafile=str(self.ca))
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection((host, int(port)), timeout=5)
        return context.wrap_socket(plain, server_hostname=host)


def connections(target: Target) -> None:
    """Hold a thousand TLS connections without a token, and replace those that are closed."""
    held: list[socket.socket] = []
    while target.is_on:
        with suppress(OSError):
            held.append(target.connect())
        if len(held) > 1000:
            held.pop(0).close()


def silent_connections(target: Target) -> None:
    """Hold a thousand connections that never say a word."""
    host, _, port = target.address.rpartition(":")
    held: list[socket.socket] = []
    while target.is_on:
        with suppress(OSError):
            held.append(socket.create_connection((host, int(port)), timeout=5))
        if len(held) > 1000:
            held.pop(0).close()


def empty_outputs(target: Target) -> None:
    """Send eight million empty outputs: 16 MB of message, or 16 kB with gzip."""
    body = request().SerializeToString() + b"\x32\x00" * 8_000_000
    with target.channel() as channel:
        call = channel.unary_unary(INFER)
        while target.is_on:
            for compression in (grpc.Compression.Gzip, None):
                with suppress(grpc.RpcError):
                    call(body, timeout=20, metadata=target.header, compression=compression)


def many_scans(target: Target) -> None:
    """Send progressive JPEGs of as many scans as an edge decodes, and give each up at once."""
    flags = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
    data = cv2.imencode(".jpg", np.zeros((1440, 1440, 3), np.uint8), flags)[1].tobytes()
    last = data[data.rfind(b"\xff\xda") : -2]
    jpeg(target, data[:-2] + last * (64 - data.count(b"\xff\xda")) + data[-2:], 0.2)


def large_jpegs(target: Target) -> None:
    """Send the largest images that an edge decodes, in a few kilobytes each."""
    jpeg(target, encode_jpeg(np.zeros((4600, 4600, 3), np.uint8), 50), 0.5)


def thin_jpegs(target: Target) -> None:
    jpeg(target, encode_jpeg(np.zeros((1, 65500, 3), np.uint8), 50), 20)


def thin_frames(target: Target) -> None:
    message = request(frame=np.zeros((1, 1, 1_000_000, 3), np.uint8))
    flood(target, lambda: message, 20)


def bordering_frames(target: Target) -> None:
    """Send the thinnest frames that an edge stylizes."""
    message = request(frame=np.zeros((1, 14, 504, 3), np.uint8))
    flood(target, lambda: message, 20)


def garbage(target: Target) -> None:
    """Send messages that are not protobuf."""
    with target.channel() as channel:
        call = channel.unary_unary(INFER)
        while target.is_on:
            with suppress(grpc.RpcError):
                call(b"\xff" * 200, timeout=5, metadata=target.header)


def cancelled_streams(target: Target) -> None:
    """Open calls and cancel them at once, as fast as possible."""
    message = request(frame=np.zeros((1, 256, 256, 3), np.uint8)).SerializeToString()
    with target.channel() as channel:
        call = channel.unary_unary(INFER)
        while target.is_on:
            for one in [call.future(message, metadata=target.header) for _ in range(50)]:
                one.cancel()


def slow_bodies(target: Target) -> None:
    """Keep every slot that a client can have, without sending a body."""

    def never() -> Iterator[bytes]:
        time.sleep(SECONDS)
        yield b""

    with target.channel() as channel:
        call = channel.stream_unary(INFER)
        while target.is_on:
            calls = [call.future(never(), metadata=target.header) for _ in range(32)]
            time.sleep(2)
            for one in calls:
                one.cancel()


def greedy(target: Target) -> None:
    """Send ordinary frames of a video without pause, with as many requests at once as a client may have."""
    message = request(frame=FRAME[None], style_code=LITE_CODE)
    flood(target, lambda: message, 60)


def greedy_large(target: Target) -> None:
    """Send frames of four times as many pixels."""
    message = request(frame=np.tile(FRAME, (2, 2, 1))[None], style_code=LITE_CODE)
    flood(target, lambda: message, 60)


def health_connections(target: Target) -> None:
    """Hold two hundred connections to the health server, and send nothing; ADDRESS is its own."""
    silent_connections(target)


def jpeg(target: Target, data: bytes, timeout_s: float) -> None:
    message = request(frame=None)
    message.inputs.add(name="frame_jpeg", datatype="BYTES", shape=[1])
    message.raw_input_contents.append(len(data).to_bytes(4, "little") + data)
    flood(target, lambda: message, timeout_s)


def flood(target: Target, make: Callable[[], service_pb2.ModelInferRequest], timeout_s: float) -> None:
    """Send requests from sixteen threads at once."""

    def send() -> None:
        with target.channel() as channel:
            call = channel.unary_unary(INFER)
            body = make().SerializeToString()
            while target.is_on:
                with suppress(grpc.RpcError):
                    call(body, timeout=timeout_s, metadata=target.header)

    threads = [threading.Thread(target=send) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


ATTACKS: dict[str, Callable[[Target], None]] = {
    attack.__name__: attack
    for attack in (
        connections,
        silent_connections,
        empty_outputs,
        many_scans,
        large_jpegs,
        thin_jpegs,
        thin_frames,
        bordering_frames,
        garbage,
        cancelled_streams,
        slow_bodies,
        health_connections,
    )
}

GREED = {attack.__name__: attack for attack in (greedy, greedy_large)}

if __name__ == "__main__":
    gzip.compress(b"")  # loaded before the clock runs
    (ATTACKS | GREED)[sys.argv[1]](Target(sys.argv[2], Path(sys.argv[3]), sys.argv[4]))
