"""The edge's own numbers, in Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats/).

Written here because the default install serves, and a page of text is no reason for another dependency.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable

BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_HELP = {
    "mvstylizer_requests_total": ("counter", "Requests answered, by method, model and gRPC status."),
    "mvstylizer_request_seconds": ("histogram", "Time from headers to reply, by model, successful requests."),
    "mvstylizer_requests_inside": ("gauge", "Requests that are read, checked, waiting or computed now."),
    "mvstylizer_spool_bytes": ("gauge", "Bytes kept for retraining."),
    "mvstylizer_spool_failures_total": ("counter", "Images that could not be kept, or not be removed."),
    "mvstylizer_styles": ("gauge", "Style photos whose codes are remembered."),
    "mvstylizer_shared_memory_bytes": ("gauge", "Shared memory between gateway and Triton."),
    "mvstylizer_up": ("gauge", "1 while an inference has worked within the last seconds."),
    "mvstylizer_last_success_age_seconds": ("gauge", "Time since the last inference that worked."),
    "mvstylizer_model_version": ("gauge", "Model version that requests without one get."),
    "mvstylizer_canaries_total": ("counter", "Canary inferences, by result."),
    "mvstylizer_restarts_total": ("counter", "Restarts of Triton, by cause."),
    "mvstylizer_releases_total": ("counter", "Model releases, by event: promoted, refused, rolled_back."),
}

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counters, gauges and one kind of histogram; for one event loop, so without locks."""

    def __init__(self) -> None:
        self._counts: defaultdict[tuple[str, Labels], float] = defaultdict(float)
        self._histograms: dict[tuple[str, Labels], list[float]] = {}
        self._gauges: dict[str, Callable[[], float]] = {}

    def count(self, name: str, **labels: str) -> None:
        """Add one to a counter."""
        self._counts[name, tuple(labels.items())] += 1

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Put a duration into a histogram."""
        empty = [0.0] * (len(BUCKETS_S) + 2)  # one count a bucket, those above all, and the sum
        cells = self._histograms.setdefault((name, tuple(labels.items())), empty)
        cells[bisect_left(BUCKETS_S, seconds)] += 1
        cells[-1] += seconds

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """Name a value that is read whenever someone asks."""
        self._gauges[name] = read

    def text(self) -> str:
        """Return everything in Prometheus' text format."""
        lines: list[str] = []
        for name, (kind, text) in _HELP.items():
            rows = list(self._rows(name))
            if rows:
                lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}", *rows]
        return "\n".join(lines) + "\n"

    def _rows(self, name: str) -> Iterable[str]:
        if name in self._gauges:
            yield f"{name} {self._gauges[name]():.17g}"
        for (counter, labels), value in sorted(self._counts.items()):
            if counter == name:
                yield f"{name}{_braces(labels)} {value:.17g}"
        for (histogram, labels), cells in sorted(self._histograms.items()):
            if histogram == name:
                yield from _histogram_rows(name, labels, cells)


def _histogram_rows(name: str, labels: Labels, cells: list[float]) -> Iterable[str]:
    total = 0.0
    for edge, count in zip((*map(str, BUCKETS_S), "+Inf"), cells[:-1], strict=True):
        total += count
        yield f"{name}_bucket{_braces((*labels, ('le', edge)))} {total:.17g}"
    yield f"{name}_sum{_braces(labels)} {cells[-1]:.17g}"
    yield f"{name}_count{_braces(labels)} {total:.17g}"


def _braces(labels: Labels) -> str:
    """Return labels in braces; their values are our own words, so nothing needs escaping."""
    return "{" + ",".join(f'{key}="{value}"' for key, value in labels) + "}" if labels else ""
