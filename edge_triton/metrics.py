"""The edge's own metrics, exported through `prometheus_client`."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SCRAPE_TIMEOUT_S = 2.0

# A `_created` series for every counter and bucket would double the page and appears on no dashboard.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """Metrics of one edge, in their own registry, because a process may run several edges.

    Attributes:
        requests: Answered requests, by method, model and gRPC status.
        request_seconds: Duration of successful requests, by model.
        spool_failures: Images that the spool failed to write or delete.
        canaries: Canary inferences, by result.
        restarts: Restarts of Triton, by cause.
        releases: Model releases, by event.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = self._counter(
            "requests", "Answered requests, by method, model and gRPC status.", "method", "model", "code"
        )
        self.request_seconds = Histogram(
            "mvstylizer_request_seconds",
            "Time from headers to reply of successful requests, by model.",
            ["model"],
            buckets=BUCKETS_S,
            registry=self._registry,
        )
        self.spool_failures = self._counter(
            "spool_failures", "Images that the spool failed to write or delete."
        )
        self.canaries = self._counter("canaries", "Canary inferences, by result.", "result")
        self.restarts = self._counter("restarts", "Restarts of Triton, by cause.", "cause")
        self.releases = self._counter(
            "releases", "Model releases, by event: promoted, refused, rolled_back.", "event"
        )

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Export a value that is read at each scrape.

        Args:
            name: Full metric name.
            text: Help text.
            read: Returns the value.
        """
        Gauge(name, text, registry=self._registry).set_function(read)

    def text(self) -> str:
        """Return every metric in Prometheus' text format."""
        return generate_latest(self._registry).decode()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"mvstylizer_{name}_total", text, labels, registry=self._registry)


def scrape_triton(address: str) -> str:
    """Return the text of Triton's own metrics, or an empty string while Triton is down.

    Args:
        address: ``HOST:PORT`` of Triton's metrics server.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{address}/metrics", timeout=_SCRAPE_TIMEOUT_S) as reply:
            text: str = reply.read().decode()
    except OSError:
        return ""
    return text
