"""What an edge's gateway says of itself: how many phones wait, and which version answers them."""

from __future__ import annotations

import time
import urllib.error
import urllib.request

INSIDE, VERSION = "mvstylizer_requests_inside", "mvstylizer_model_version"
POLL_S = 0.5
TIMEOUT_S = 2.0


def wait_until_idle(metrics: str) -> None:
    """Return as soon as no request is inside the edge's gateway.

    Args:
        metrics: URL of the gateway's metrics in Prometheus' text format; empty = there is no gateway. One
            that is away serves nobody, so it does not hold up anything either; one that answers late is busy.
    """
    while metrics and _is_busy(metrics):
        time.sleep(POLL_S)


def wait_until_served(metrics: str, version: int, timeout_s: float) -> bool:
    """Return whether the gateway answers phones with a version by a deadline.

    Args:
        metrics: URL of the gateway's metrics.
        version: The wanted one.
        timeout_s: How long to wait for it.
    """
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if read_gauge(metrics, VERSION) == version:
            return True
        time.sleep(POLL_S)
    return False


def read_gauge(metrics: str, name: str) -> float | None:
    """Return a gauge, the sum over its labels; None when the gateway does not answer or does not say."""
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
    """Return the gateway's numbers.

    Raises:
        TimeoutError: They do not come in time.
        OSError: The gateway is away.
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
