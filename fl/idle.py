"""An edge retrains only while no phone waits: its gateway says how many requests are inside."""

from __future__ import annotations

import time
import urllib.error
import urllib.request

GAUGE = "mvstylizer_requests_inside"
POLL_S = 0.5
TIMEOUT_S = 2.0


def wait_until_idle(metrics: str) -> None:
    """Return as soon as no request is inside the edge's gateway.

    Args:
        metrics: URL of the gateway's metrics in Prometheus' text format; empty = there is no gateway. One
            that does not answer serves nobody, so it does not hold up anything either.
    """
    while metrics and requests_inside(metrics) > 0:
        time.sleep(POLL_S)


def requests_inside(metrics: str) -> float:
    """Return how many requests the gateway holds, 0 when it does not answer or does not say."""
    try:
        with urllib.request.urlopen(metrics, timeout=TIMEOUT_S) as reply:
            text = reply.read().decode()
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return 0.0
    rows = (line.split() for line in text.splitlines() if line.startswith((f"{GAUGE} ", f"{GAUGE}{{")))
    return sum(float(row[-1]) for row in rows)
