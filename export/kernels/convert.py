"""Convert a TensorFlow function to a small TFLite file whose uint8 inputs and outputs delegates accept."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from export.kernels.half_precision import with_half_constants
from export.kernels.signature import Shapes, described
from export.tflite_file import OPERATOR_NAMES, builtin_code, pack, unpack
from mvstylizer.bundle import TensorSpec
from mvstylizer.errors import MissingExtraError, MVStylizerError

_FORBIDDEN_TYPES = {
    schema.TensorType.INT64: "int64",
    schema.TensorType.FLOAT64: "float64",
    schema.TensorType.STRING: "string",
}


class KernelBuildError(MVStylizerError):
    """The converter failed, or wrote what not every phone can run: Flex, custom operators, int64."""


def tensorflow() -> Any:
    """Import TensorFlow without its log output.

    Raises:
        MissingExtraError: It is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import tensorflow as tf
    except ImportError as err:
        raise MissingExtraError("export", "tensorflow") from err
    return tf


def convert(
    function: Callable[..., Any],
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    *,
    half: bool = False,
    default: Shapes | None = None,
) -> bytes:
    """Convert `function` and return the file.

    Args:
        function: Takes the inputs by name and returns the outputs in order, as TensorFlow tensors.
        inputs: Names, types and shapes; -1 is a dynamic dimension.
        outputs: Names, in the order in which `function` returns them.
        half: Store large constants in half precision (`half_precision`); arithmetic is single precision.
        default: Shapes of dynamic inputs for tools that do not resize them (`export.kernels.signature`).

    Returns:
        The TFLite file. Casts between uint8 and float32 become DEQUANTIZE and QUANTIZE with scale 1 and zero
        point 0: the same values, but rounded to nearest and saturated. XNNPACK and NPUs run them, while they
        leave CAST to the slow built-in operator.

    Raises:
        KernelBuildError: The graph has a custom or Flex operator, or 64-bit tensors.
        MissingExtraError: TensorFlow is not installed.
    """
    tf = tensorflow()
    signature = [
        tf.TensorSpec([None if d < 0 else d for d in s.shape], tf.as_dtype(s.dtype), s.name) for s in inputs
    ]
    traced = tf.function(function, input_signature=signature, autograph=False)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced.get_concrete_function()], traced)
    model = unpack(_converted(converter))
    graph = model.subgraphs[0]
    for spec, index in zip(outputs, graph.outputs, strict=True):
        graph.tensors[index].name = spec.name
    _casts_to_quantization(model)
    content = pack(model)
    operators(content)
    content = with_half_constants(content) if half else content
    return described(content, function.__name__, inputs, outputs, default)


def gather_to_lookup(content: bytes) -> bytes:
    """Replace every GATHER of whole rows by EMBEDDING_LOOKUP, which TensorFlow's converter never writes.

    Args:
        content: A TFLite file whose GATHERs select rows by int32 indices of rank 1. Table and result must
            have the same type: EMBEDDING_LOOKUP scales a uint8 table with a float32 result.

    Returns:
        The file, which copies the same rows.
    """
    model = unpack(content)
    for op in model.subgraphs[0].operators:
        if _code(model, op) == schema.BuiltinOperator.GATHER:
            op.opcodeIndex = _code_index(model, schema.BuiltinOperator.EMBEDDING_LOOKUP)
            op.inputs = [op.inputs[1], op.inputs[0]]
            op.builtinOptionsType, op.builtinOptions = schema.BuiltinOptions.NONE, None
    _drop_unused_codes(model)
    return pack(model)


def operators(content: bytes) -> Counter[str]:
    """Count the operators of a TFLite file by name.

    Raises:
        KernelBuildError: It has a custom or Flex operator, or 64-bit or string tensors.
    """
    model = unpack(content)
    names: Counter[str] = Counter()
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if tensor.type in _FORBIDDEN_TYPES:
                kind = _FORBIDDEN_TYPES[tensor.type]
                raise KernelBuildError(f"Tensor {tensor.name.decode()} of a kernel is {kind}")
        names.update(OPERATOR_NAMES[_code(model, op)] for op in graph.operators)
    if names["CUSTOM"]:
        custom = ", ".join(str(c.customCode) for c in model.operatorCodes if c.customCode)
        raise KernelBuildError(f"A kernel needs operators that phones lack: {custom}")
    return names


def _converted(converter: Any) -> bytes:
    from tensorflow.lite.python.convert_phase import ConverterError

    try:
        return bytes(converter.convert())
    except ConverterError as err:
        reason = str(err).partition("error: ")[2].partition("\n")[0] or str(err)
        raise KernelBuildError(f"A kernel cannot be converted: {reason}") from err


def _code(model: Any, operator: Any) -> int:
    return builtin_code(model.operatorCodes[operator.opcodeIndex])


def _code_index(model: Any, builtin: int) -> int:
    for index, code in enumerate(model.operatorCodes):
        if code.builtinCode == builtin:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = builtin
    code.version = 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _casts_to_quantization(model: Any) -> None:
    graph = model.subgraphs[0]
    uint8, float32 = schema.TensorType.UINT8, schema.TensorType.FLOAT32
    for op in graph.operators:
        if _code(model, op) != schema.BuiltinOperator.CAST:
            continue
        kinds = graph.tensors[op.inputs[0]].type, graph.tensors[op.outputs[0]].type
        if kinds == (uint8, float32):
            op.opcodeIndex = _code_index(model, schema.BuiltinOperator.DEQUANTIZE)
            op.builtinOptionsType = schema.BuiltinOptions.DequantizeOptions
            op.builtinOptions = schema.DequantizeOptionsT()
        elif kinds == (float32, uint8):
            op.opcodeIndex = _code_index(model, schema.BuiltinOperator.QUANTIZE)
            op.builtinOptionsType = schema.BuiltinOptions.QuantizeOptions
            op.builtinOptions = schema.QuantizeOptionsT()
    for tensor in graph.tensors:
        if tensor.type == uint8:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = [1.0]
            tensor.quantization.zeroPoint = [0]
    _drop_unused_codes(model)


def _drop_unused_codes(model: Any) -> None:
    """Drop unused operator codes: a runtime that lacks one of them rejects the file."""
    graph = model.subgraphs[0]
    used = sorted({op.opcodeIndex for op in graph.operators})
    for op in graph.operators:
        op.opcodeIndex = used.index(op.opcodeIndex)
    model.operatorCodes = [model.operatorCodes[i] for i in used]
