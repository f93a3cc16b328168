"""The Grafana dashboard uses only series that the edge exports."""

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

DASHBOARD = Path(edge_triton.__file__).parent / "dashboards" / "edge.json"
# These need a GPU, or an event.
GPU = {"nv_gpu_memory_used_bytes", "nv_gpu_utilization"}
EVENTS = {"mvstylizer_restarts_total", "mvstylizer_releases_total"}


@pytest.mark.server
def test_dashboard_uses_exported_series_only(edge: Edge, phone: EdgeClient) -> None:
    phone.stylize(np.zeros((8, 8, 3), np.uint8), np.zeros(3, np.float32))
    with urllib.request.urlopen(f"http://{edge.health_address}/metrics", timeout=10) as reply:
        shown = {re.split(r"[{ ]", line)[0] for line in reply.read().decode().splitlines()}
    dashboard = json.loads(DASHBOARD.read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    expressions += [row["expr"] for row in dashboard["annotations"]["list"]]
    used = {name for text in expressions for name in re.findall(r"(?:mvstylizer|nv)_\w+", text)}
    assert len(used) > 15
    assert used - shown <= GPU | EVENTS
    identifiers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(identifiers)) == len(identifiers)
