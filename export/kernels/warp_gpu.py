"""``warp_gpu_WxH.tflite``: the warp as one custom operator, the GPU delegate's own bilinear sampler.

``Resampler`` exists only in LiteRT's GPU delegates: no CPU and no NPU runs this file. It reads absolute
coordinates and returns zero outside the frame, so the caller clamps them: x to 0..W-1, y to 0..H-1. Float16
rounds coordinates beyond 256 by up to whole pixels: run larger frames with full precision
(``--gpu_precision_loss_allowed=false``).

TensorFlow has no such operator, so the file is assembled by hand.
"""

from __future__ import annotations

from typing import Any

from ai_edge_litert import schema_py_generated as schema

from export.tflite_file import pack
from mvstylizer.bundle import TensorSpec

OPERATOR = "Resampler"


def warp_gpu_inputs(width: int, height: int) -> tuple[TensorSpec, ...]:
    """Return the manifest's rows of the inputs."""
    key = TensorSpec("key", "float32", (1, height, width, 3), "NHWC RGB", "0..255")
    place = TensorSpec(
        "place", "float32", (1, height, width, 2), "NHWC, x and y to read at", "pixels, inside"
    )
    return key, place


def warp_gpu_outputs(width: int, height: int) -> tuple[TensorSpec, ...]:
    """Return the manifest's row of the output."""
    return (TensorSpec("warped", "float32", (1, height, width, 3), "NHWC RGB", "0..255, not rounded"),)


def build_warp_gpu(width: int, height: int) -> bytes:
    """Build the file for frames of width × height and return its content."""
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode, code.version = OPERATOR, 1
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0, 1], [2]
    graph = schema.SubGraphT()
    graph.name = "main"
    rows = (*warp_gpu_inputs(width, height), *warp_gpu_outputs(width, height))
    graph.tensors = [_tensor(spec, buffer) for buffer, spec in enumerate(rows, start=1)]
    graph.inputs, graph.outputs, graph.operators = [0, 1], [2], [operator]
    model = schema.ModelT()
    model.version, model.description = 3, "warp_gpu"
    model.operatorCodes, model.subgraphs = [code], [graph]
    model.buffers = [schema.BufferT() for _ in range(len(rows) + 1)]  # the first must be empty
    return pack(model)


def _tensor(spec: TensorSpec, buffer: int) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer = spec.name, list(spec.shape), buffer
    tensor.type = schema.TensorType.FLOAT32
    return tensor
