"""Convert a static ONNX graph to TFLite through TensorFlow functions, operator by operator."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from export.kernels.convert import KernelBuildError, convert
from export.kernels.onnx_functions import functions
from mvstylizer.bundle import TensorSpec


def folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a graph whose constant parts, such as shapes, are computed; inputs must have fixed sizes."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath)


def as_tflite(
    model: onnx.ModelProto, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], *, half: bool
) -> bytes:
    """Convert a graph to TFLite.

    Args:
        model: The graph; inputs and outputs have fixed sizes.
        inputs: Its inputs.
        outputs: Its outputs.
        half: Store large constants in half precision; arithmetic is single precision either way.

    Raises:
        KernelBuildError: An operator has no TFLite form, or the converter failed.
        MissingExtraError: TensorFlow is not installed.
    """
    graph = folded(model).graph
    table = functions()
    constants = {each.name: _array(each) for each in graph.initializer}

    def network(*given: Any) -> tuple[Any, ...]:
        values: dict[str, Any] = {"": None, **constants}
        values.update(zip((spec.name for spec in inputs), given, strict=True))
        for node in graph.node:
            if node.op_type not in table:
                raise KernelBuildError(f"ONNX operator {node.op_type} has no TFLite form")
            attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
            values[node.output[0]] = table[node.op_type](attributes, *(values[name] for name in node.input))
        return tuple(values[each.name] for each in graph.output)

    return convert(network, inputs, outputs, half=half)


def _array(constant: onnx.TensorProto) -> Any:
    array = onnx.numpy_helper.to_array(constant)
    return array.clip(-(2**31), 2**31 - 1).astype(np.int32) if array.dtype == np.int64 else array
