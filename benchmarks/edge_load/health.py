"""Query a running edge: the version it serves, and the number of Triton restarts."""

from __future__ import annotations

import json
import socket
import time
import urllib.request
from typing import Final

from mvstylizer.errors import MVStylizerError

SWAP_TIMEOUT_S: Final = 120.0
POLL_S: Final = 0.02


class StaleEdgeError(MVStylizerError):
    """The edge does not serve the published version."""


def free_address() -> str:
    """Return a free local address as HOST:PORT."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def wait_until_served(version: int, health: str) -> None:
    """Wait until the edge serves a version.

    Args:
        version: Expected version.
        health: HTTP address of the edge.

    Raises:
        StaleEdgeError: The edge does not serve it within two minutes.
    """
    began = time.perf_counter()
    while _served(health) != version:
        if time.perf_counter() - began > SWAP_TIMEOUT_S:
            raise StaleEdgeError(
                f"Version {version} is not served after {SWAP_TIMEOUT_S:g} s", "Check the log of the edge"
            )
        time.sleep(POLL_S)


def restart_count(health: str) -> float:
    """Return the number of Triton restarts by the edge's supervisor."""
    with urllib.request.urlopen(f"http://{health}/metrics", timeout=10) as reply:
        lines = reply.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("mvstylizer_restarts_total"))


def _served(health: str) -> int:
    try:
        with urllib.request.urlopen(f"http://{health}/healthz", timeout=10) as reply:
            return int(json.loads(reply.read())["version"])
    except OSError:  # 503 while it restarts
        return 0
