"""Count the multiply-adds of an ONNX model from the tensor shapes of a run."""

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
    """Run a model once and return the multiply-adds of its convolutions and matrix products.

    Elementwise operations, resizing and pooling are not counted, as usual. The graph is not optimized, so
    that every node keeps its shapes; nodes that `outputs` do not depend on are not run.

    Args:
        model: ONNX file.
        inputs: Input values by name.
        outputs: Names of the outputs.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.disable_prepacking", "1")  # packed weights have no shape
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        session.run(outputs, inputs)
        events = json.loads(Path(session.end_profiling()).read_text())
    return sum(_macs(event["args"]) for event in events if event.get("args", {}).get("op_name") in COUNTED)


def _macs(node: dict[str, Any]) -> int:
    if "output_type_shape" not in node:  # not a run event
        return 0
    shapes: list[list[int]] = [next(iter(each.values())) for each in node["input_type_shape"]]
    out: list[int] = next(iter(node["output_type_shape"][0].values()))
    if node["op_name"] == "Conv":  # weight (out, in / groups, kh, kw)
        return math.prod(out) * math.prod(shapes[1][1:])
    if node["op_name"] == "ConvTranspose":  # weight (in, out / groups, kh, kw)
        return math.prod(shapes[0]) * math.prod(shapes[1][1:])
    return math.prod(out) * shapes[0][-1]
