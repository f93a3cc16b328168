"""Hexagon's verification lane: Qualcomm's HTP library on this machine, through onnxruntime-qnn.

It computes float graphs in float16 like the chip's, so what float16 does to a kernel shows without a phone.
It says nothing about speed. The kernel is converted to ONNX (`export.runtimes.tflite_to_onnx`) and runs in
its own process.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec

from export.runtimes.case import Array, Case
from export.runtimes.subprocess_runner import run_worker
from export.runtimes.tflite_to_onnx import onnx_twin

LANE = "Hexagon numerics"
MAX_PIXELS = 512 * 256  # the library needs seconds for a frame of this size, minutes for one of 1080p


def why_missing() -> str | None:
    """Return why this machine cannot run the lane, None where it can."""
    if find_spec("onnxruntime_qnn") is not None:
        return None
    return "no Hexagon library here: pip install 'mvstylizer[npu]'"


def run_on_htp(content: bytes, cases: Sequence[Case]) -> list[list[Array]]:
    """Run a TFLite file's twin on all cases and return the outputs of each, in order.

    Raises:
        GraphError: It has an operator that the twin lacks.
        LaneError: The library refuses the graph or takes only a part of it.
    """
    twin = onnx_twin(content).SerializeToString()
    return run_worker("export.runtimes.hexagon_worker", LANE, twin, cases, dict(os.environ))
