"""TCP ports on loopback."""

from __future__ import annotations

import socket

from edge_triton.triton.startup_errors import PortTakenError

HOST = "127.0.0.1"


def free_port(other_than: int = 0) -> int:
    """Return a port that is free now.

    Args:
        other_than: A port to avoid, because the system may return the same free port twice.
    """
    while True:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port = int(probe.getsockname()[1])
        if port != other_than:
            return port


def check_port(port: int) -> None:
    """Check that a port is free, before a server is started in vain.

    Raises:
        PortTakenError: It is not.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as err:
            raise PortTakenError(
                f"Port {port} cannot be used ({err.strerror})",
                "Choose another with --port, or stop the program that uses it",
            ) from err
