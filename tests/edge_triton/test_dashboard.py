"""The Grafana dashboard asks for nothing that the edge does not show."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

import numpy as np
import pytest

import edge_triton
from edge_triton.client.client import EdgeClient
from edge_triton.edge import Edge
from edge_triton.metrics import Metrics

DASHBOARD = Path(edge_triton.__file__).parent / "dashboards" / "edge.json"
# These need a GPU, or something to have happened.
ELSEWHERE = {"nv_gpu_memory_used_bytes", "nv_gpu_utilization"}
EVENTS = {"mvstylizer_restarts_total", "mvstylizer_releases_total"}


@pytest.mark.server
def test_series_exist(edge: Edge, phone: EdgeClient) -> None:
    phone.stylize(np.zeros((8, 8, 3), np.uint8), np.zeros(3, np.float32))
    with urllib.request.urlopen(f"http://{edge.health_address}/metrics", timeout=10) as reply:
        shown = {re.split(r"[{ ]", line)[0] for line in reply.read().decode().splitlines()}
    dashboard = json.loads(DASHBOARD.read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    expressions += [row["expr"] for row in dashboard["annotations"]["list"]]
    asked = {name for text in expressions for name in re.findall(r"(?:mvstylizer|nv)_\w+", text)}
    assert len(asked) > 15
    assert asked - shown <= ELSEWHERE | EVENTS
    identifiers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(identifiers)) == len(identifiers)


def test_text_is_prometheus_own_format() -> None:
    metrics = Metrics()
    metrics.gauge("mvstylizer_up", lambda: 1)
    metrics.count("mvstylizer_restarts_total", cause="late")
    metrics.count("mvstylizer_restarts_total", cause="late")
    for seconds in (0.02, 0.05, 0.3, 99.0):
        metrics.observe("mvstylizer_request_seconds", seconds, model="stylizer")
    lines = metrics.text().splitlines()
    assert metrics.text().endswith("\n")
    assert "# TYPE mvstylizer_request_seconds histogram" in lines
    assert 'mvstylizer_restarts_total{cause="late"} 2' in lines
    rows = [line for line in lines if line.startswith("mvstylizer_request_seconds_bucket")]
    counts = [int(row.split()[-1]) for row in rows]
    assert counts == [0, 1, 2, 2, 2, 3, 3, 3, 3, 3, 4]
    assert rows[2] == 'mvstylizer_request_seconds_bucket{model="stylizer",le="0.05"} 2'
    assert rows[-1].split("le=")[1] == '"+Inf"} 4'
    assert 'mvstylizer_request_seconds_count{model="stylizer"} 4' in lines
    (total,) = [line.split()[-1] for line in lines if "seconds_sum" in line]
    assert float(total) == pytest.approx(99.37)
