"""Multiply-adds of an ONNX model, counted from the shapes that a run of it shows."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import Any, Final

import onnxruntime
from numpy.typing import NDArray

COUNTED: Final = ("Conv", "ConvTranspose", "MatMul", "Gemm")


def count_macs(model: Path, inputs: dict[str, NDArray[Any]], outputs: list[str]) -> int:
    """Run a model once and count what its convolutions and matrix products multiply and add.

    Elementwise work, resizing and pooling are left out, as is usual. The graph is not optimised for this, so
    that every node still has its own name and shapes; nodes that `outputs` do not need are not run.

    Args:
        model: The file.
        inputs: Name → value.
        outputs: Names.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.disable_prepacking", "1")  # packed weights show no shape
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        session.run(outputs, inputs)
        events = json.loads(Path(session.end_profiling()).read_text())
    return sum(_macs(event["args"]) for event in events if event.get("args", {}).get("op_name") in COUNTED)


def _macs(node: dict[str, Any]) -> int:
    if "output_type_shape" not in node:  # an event of the node other than its run
        return 0
    shapes: list[list[int]] = [next(iter(each.values())) for each in node["input_type_shape"]]
    out: list[int] = next(iter(node["output_type_shape"][0].values()))
    if node["op_name"] == "Conv":  # weight (out, in / groups, kh, kw)
        return math.prod(out) * math.prod(shapes[1][1:])
    if node["op_name"] == "ConvTranspose":  # weight (in, out / groups, kh, kw)
        return math.prod(shapes[0]) * math.prod(shapes[1][1:])
    return math.prod(out) * shapes[0][-1]
