"""A kernel's file without its conversions from and to bytes, for planes of more than eight bits.

TFLite has no arithmetic on planes of 16 bits. The kernels compute in float32; DEQUANTIZE at their start and
QUANTIZE at their end only convert. Without these two, the same file takes and gives float32 in any unit.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import flatbuffers  # type: ignore[import-untyped]
from ai_edge_litert import schema_py_generated as schema

CONVERSIONS: Final = {schema.BuiltinOperator.DEQUANTIZE, schema.BuiltinOperator.QUANTIZE}


@lru_cache(maxsize=4)
def float_model(content: bytes) -> bytes:
    """Return a TFLite file with float32 in place of uint8 everywhere.

    Args:
        content: A TFLite file whose uint8 tensors have scale 1 and zero point 0, as those of
            `export.kernels`.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    graph = model.subgraphs[0]
    same = {op.outputs[0]: op.inputs[0] for op in graph.operators if _converts(model, op)}
    graph.operators = [op for op in graph.operators if not _converts(model, op)]
    for op in graph.operators:
        op.inputs = [same.get(index, index) for index in op.inputs]
    for index, given in ((output, same[output]) for output in graph.outputs if output in same):
        graph.tensors[given].name = graph.tensors[index].name
    graph.outputs = [same.get(index, index) for index in graph.outputs]
    for tensor in graph.tensors:
        if tensor.type == schema.TensorType.UINT8:
            tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _converts(model: Any, operator: Any) -> bool:
    code = model.operatorCodes[operator.opcodeIndex]
    # Codes up to 126 are in the older 8-bit field too.
    return max(code.builtinCode, code.deprecatedBuiltinCode) in CONVERSIONS
