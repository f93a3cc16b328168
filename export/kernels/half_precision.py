"""Store constants of a TFLite file in half precision where that loses nothing."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.tflite_file import builtin_code, pack, unpack

LARGE: Final = 256  # values; below, an operator costs more than it saves


def with_half_constants(content: bytes) -> bytes:
    """Return a file that stores float32 constants as float16 if they are large and keep their values.

    Weights do, since checkpoints have half precision; matrices of a formula do not. A DEQUANTIZE turns each
    back into float32, which XNNPACK does once, when the file is loaded. TensorFlow's converter would store
    every constant so, and a look's covariances would differ by 2e-3.
    """
    model = unpack(content)
    graph = model.subgraphs[0]
    code = _dequantize(model)
    floats: dict[int, list[int]] = {}
    for index, tensor in enumerate(graph.tensors):
        if tensor.type == schema.TensorType.FLOAT32:
            floats.setdefault(tensor.buffer, []).append(index)
    before = []
    for buffer, indices in floats.items():
        if (values := _exact_half(model.buffers[buffer].data)) is not None:
            model.buffers[buffer].data = values.view(np.uint8)
            before += [_read_from_half(model, index, code) for index in indices]
    graph.operators = [*before, *graph.operators]
    return pack(model)


def _exact_half(data: Any) -> Any:
    """Return a buffer's float32 values as float16; None if they are few or change."""
    if data is None or len(data) < 4 * LARGE:
        return None
    values = np.asarray(data, np.uint8).view(np.float32)
    half = values.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), values) else None


def _read_from_half(model: Any, index: int, code: int) -> Any:
    """Give tensor `index`'s buffer to a float16 tensor and return the operator that writes the former."""
    graph = model.subgraphs[0]
    tensor, half, op = graph.tensors[index], schema.TensorT(), schema.OperatorT()
    half.name, half.shape, half.type = tensor.name + b"_half", tensor.shape, schema.TensorType.FLOAT16
    half.buffer, half.hasRank = tensor.buffer, True
    graph.tensors.append(half)
    tensor.buffer = 0  # the empty one
    op.opcodeIndex, op.inputs, op.outputs = code, [len(graph.tensors) - 1], [index]
    op.builtinOptionsType = schema.BuiltinOptions.DequantizeOptions
    op.builtinOptions = schema.DequantizeOptionsT()
    return op


def _dequantize(model: Any) -> int:
    """Return the index of the code of DEQUANTIZE; add it where it is missing."""
    wanted = schema.BuiltinOperator.DEQUANTIZE
    for index, known in enumerate(model.operatorCodes):
        if builtin_code(known) == wanted:
            return index
    added = schema.OperatorCodeT()
    added.builtinCode = added.deprecatedBuiltinCode = wanted
    added.version = 3  # the first that reads float16
    model.operatorCodes.append(added)
    return len(model.operatorCodes) - 1
