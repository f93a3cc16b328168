"""Read an edge gateway's metrics: requests in progress and the served model version."""

from __future__ import annotations

import time
import urllib.error
import urllib.request

INSIDE, VERSION = "mvstylizer_requests_inside", "mvstylizer_model_version"
POLL_S = 0.5
TIMEOUT_S = 2.0


def wait_until_idle(metrics: str) -> None:
    """Block until the edge's gateway has no request in progress.

    Args:
        metrics: URL of the gateway's metrics in Prometheus text format; empty if there is no gateway. A
            gateway that cannot be reached counts as idle, one that times out as busy.
    """
    while metrics and _is_busy(metrics):
        time.sleep(POLL_S)


def wait_until_served(metrics: str, version: int, timeout_s: float) -> bool:
    """Wait until the gateway serves a version and return whether it does.

    Args:
        metrics: URL of the gateway's metrics.
        version: Expected version.
        timeout_s: Maximum time to wait, in seconds.
    """
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if read_gauge(metrics, VERSION) == version:
            return True
        time.sleep(POLL_S)
    return False


def read_gauge(metrics: str, name: str) -> float | None:
    """Return a gauge summed over its labels, or None if it cannot be read."""
    try:
        text = _read(metrics)
    except OSError:
        return None
    return _sum(text, name)


def _is_busy(metrics: str) -> bool:
    try:
        return (_sum(_read(metrics), INSIDE) or 0) > 0
    except TimeoutError:
        return True
    except OSError:
        return False


def _read(metrics: str) -> str:
    """Return the metrics as text.

    Raises:
        TimeoutError: The gateway does not respond in time.
        OSError: The gateway cannot be reached.
    """
    try:
        with urllib.request.urlopen(metrics, timeout=TIMEOUT_S) as reply:
            text: str = reply.read().decode()
    except urllib.error.URLError as err:
        raise err.reason if isinstance(err.reason, TimeoutError) else err from err
    return text


def _sum(text: str, name: str) -> float | None:
    rows = [line.split() for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
    return sum(float(row[-1]) for row in rows) if rows else None
