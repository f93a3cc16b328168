"""The edge's metrics, read back with the library's own parser."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge_triton.metrics import BUCKETS_S, Metrics, scrape_triton


def samples(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return every value by name and sorted label values."""
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.text())
        for sample in family.samples
    }


def test_counters_gauges_and_buckets() -> None:
    metrics = Metrics()
    values = iter((1.0, 2.0))
    metrics.gauge("mvstylizer_up", "Ready.", lambda: next(values))
    metrics.restarts.labels("late").inc()
    metrics.restarts.labels("late").inc()
    for seconds in (0.02, 0.05, 0.3, 99.0):
        metrics.request_seconds.labels("stylizer").observe(seconds)
    found = samples(metrics)
    assert found["mvstylizer_restarts_total", ("late",)] == 2
    assert found["mvstylizer_spool_failures_total", ()] == 0
    assert found["mvstylizer_up", ()] == 1
    assert samples(metrics)["mvstylizer_up", ()] == 2
    buckets = [found["mvstylizer_request_seconds_bucket", (str(edge), "stylizer")] for edge in BUCKETS_S]
    assert buckets == [0, 1, 2, 2, 2, 3, 3, 3, 3, 3]
    assert found["mvstylizer_request_seconds_bucket", ("+Inf", "stylizer")] == 4
    assert found["mvstylizer_request_seconds_count", ("stylizer",)] == 4
    assert found["mvstylizer_request_seconds_sum", ("stylizer",)] == pytest.approx(99.37)


def test_types_and_names_stay_as_the_dashboard_knows_them() -> None:
    lines = Metrics().text().splitlines()
    types = {line.split()[2]: line.split()[3] for line in lines if line.startswith("# TYPE")}
    assert types == {
        "mvstylizer_requests_total": "counter",
        "mvstylizer_request_seconds": "histogram",
        "mvstylizer_spool_failures_total": "counter",
        "mvstylizer_canaries_total": "counter",
        "mvstylizer_restarts_total": "counter",
        "mvstylizer_releases_total": "counter",
    }


def test_edges_in_one_process_do_not_share_metrics() -> None:
    first, second = Metrics(), Metrics()
    first.releases.labels("promoted").inc()
    assert ("mvstylizer_releases_total", ("promoted",)) in samples(first)
    assert ("mvstylizer_releases_total", ("promoted",)) not in samples(second)


def test_scrape_of_a_stopped_triton_is_empty() -> None:
    assert scrape_triton("127.0.0.1:0") == ""
