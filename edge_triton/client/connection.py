"""One gRPC connection to an edge: address, options, TLS."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from edge_triton.client.errors import EdgeAddressError, EdgeTlsError

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>[1-9]\d{0,4})", re.ASCII)
_LOOPBACK = ("127.0.0.1:", "localhost:", "[::1]:")
_MAX_MESSAGE_BYTES = 2**31 - 1
_MAX_REPLY_BYTES = 256 << 20  # a raw 8K image has 100 MB; a longer reply is given up at its header


class Tls(NamedTuple):
    """PEM files for TLS with an edge.

    Attributes:
        ca: Authority that signs the edge's certificate; None = gRPC's public authorities.
        cert: The client's certificate, for edges that require one.
        key: Private key of the client's certificate.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


def check_address(address: str) -> str:
    """Return a HOST:PORT address, stripped.

    Raises:
        EdgeAddressError: It has a scheme or a path, or lacks a host or a port in 1..65535.
    """
    text = address.strip()
    parts = _ADDRESS.fullmatch(text)
    if parts is None or int(parts["port"]) > 65535:
        raise EdgeAddressError(
            f"Edge address {address!r} is not HOST:PORT", "Use the form 127.0.0.1:8001 or [::1]:8001"
        )
    return text


def connect(address: str, tls: Tls | None) -> Any:
    """Return tritonclient's client for an edge; nothing is sent yet.

    Args:
        address: What `check_address` returned.
        tls: Use TLS; None = plain text.

    Raises:
        EdgeTlsError: A TLS file cannot be read.
    """
    from tritonclient.grpc import InferenceServerClient

    options = [
        ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", _MAX_REPLY_BYTES),
        # gRPC's default backoff grows to two minutes; a restarted edge is back within three seconds.
        ("grpc.initial_reconnect_backoff_ms", 50),
        ("grpc.max_reconnect_backoff_ms", 500),
        # Despite its name this is the timeout of one connection attempt, which takes several round trips.
        ("grpc.min_reconnect_backoff_ms", 5000),
        # A proxy cannot reach this machine's loopback.
        ("grpc.enable_http_proxy", 0 if address.startswith(_LOOPBACK) else 1),
    ]
    if tls is None:
        return InferenceServerClient(address, channel_args=options)
    for path in tls:
        if path is not None:
            _check_readable(path)
    ca, cert, key = (None if path is None else str(path) for path in tls)
    return InferenceServerClient(
        address,
        ssl=True,
        root_certificates=ca,
        private_key=key,
        certificate_chain=cert,
        channel_args=options,
    )


def _check_readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as err:
        raise EdgeTlsError(f"TLS file {path}: {err.strerror}", "Pass a readable PEM file") from err
