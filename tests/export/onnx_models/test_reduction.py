"""The graph's own size rule: its budget holds for every picture that an edge and a phone accept."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.onnx_models.graph_text import reduction
from mvstylizer.bundle import default_bundle, load_bundle
from mvstylizer.stylizer import MAX_ASPECT

MIN_CELLS = 2


@cache
def session(pixels: int, cell: int) -> Any:
    graph = reduction("frame", "small", pixels, cell, MIN_CELLS)
    return ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("variant", ["mvstylizer", "lite"])
@settings(deadline=None, max_examples=15)
@given(short=st.integers(1, 120), aspect=st.floats(1, MAX_ASPECT), is_tall=st.booleans())
def test_the_budget_holds_for_every_aspect(variant: str, short: int, aspect: float, is_tall: bool) -> None:
    network = load_bundle(default_bundle(variant)).network
    pixels, cell = network["network_pixels"], network["map_cell"]
    shape = (short, max(short, int(short * aspect)))
    height, width = shape[::-1] if is_tall else shape
    frame = np.zeros((1, height, width, 3), np.uint8)
    small = session(pixels, cell).run(["small"], {"frame": frame})[0]
    assert small.shape[2] * small.shape[3] <= 1.3 * pixels


@pytest.mark.parametrize("variant", ["mvstylizer", "lite"])
def test_the_limit_is_where_the_smallest_side_would_exceed_the_budget(variant: str) -> None:
    network = load_bundle(default_bundle(variant)).network
    assert network["network_pixels"] == MAX_ASPECT * (MIN_CELLS * network["map_cell"]) ** 2
