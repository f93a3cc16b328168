"""From a TensorFlow function to a small TFLite file whose uint8 borders every delegate understands."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
from ai_edge_litert import schema_py_generated as schema

from mvstylizer.bundle import TensorSpec
from mvstylizer.errors import MissingExtraError, MVStylizerError

_BUILTIN_NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
_FORBIDDEN_TYPES = {
    schema.TensorType.INT64: "int64",
    schema.TensorType.FLOAT64: "float64",
    schema.TensorType.STRING: "string",
}


class KernelBuildError(MVStylizerError):
    """The converter wrote something that phones cannot run everywhere (Flex, custom op, int64)."""


def tensorflow() -> Any:
    """Import TensorFlow, quietly.

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
) -> bytes:
    """Convert `function` and return the file.

    Args:
        function: Takes the inputs by name and returns the outputs in order, as TensorFlow tensors.
        inputs: Their names, types and shapes; -1 becomes a dimension that the caller resizes.
        outputs: Their names, in the order in which `function` returns them.
        half: Store large constants in half precision; arithmetic stays single.

    Returns:
        The TFLite flatbuffer. Casts between uint8 and float32 are written as DEQUANTIZE and QUANTIZE with
        scale 1 and zero point 0: the same values, but rounded to the nearest and saturated, and XNNPACK
        and the NPUs run them (they leave CAST to the slow built-in).

    Raises:
        KernelBuildError: The graph holds a custom or Flex operator, or 64-bit tensors.
        MissingExtraError: TensorFlow is not installed.
    """
    tf = tensorflow()
    signature = [
        tf.TensorSpec([None if d < 0 else d for d in s.shape], tf.as_dtype(s.dtype), s.name) for s in inputs
    ]
    traced = tf.function(function, input_signature=signature, autograph=False)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced.get_concrete_function()], traced)
    if half:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    model = unpack(_converted(converter))
    graph = model.subgraphs[0]
    for spec, index in zip(outputs, graph.outputs, strict=True):
        graph.tensors[index].name = spec.name
    _casts_to_quantization(model)
    content = pack(model)
    operators(content)
    return content


def gather_to_lookup(content: bytes) -> bytes:
    """Write every GATHER of whole rows as EMBEDDING_LOOKUP, which TensorFlow's converter never writes.

    Args:
        content: A TFLite file whose GATHERs take rows, by int32 indices of rank 1.

    Returns:
        The file that copies the same rows. A uint8 table is to have a uint8 result: with a float32 one the
        operator would scale them.
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
        KernelBuildError: It holds a custom or Flex operator, or 64-bit or string tensors.
    """
    model = unpack(content)
    names: Counter[str] = Counter()
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if tensor.type in _FORBIDDEN_TYPES:
                kind = _FORBIDDEN_TYPES[tensor.type]
                raise KernelBuildError(f"Tensor {tensor.name.decode()} of a kernel is {kind}")
        names.update(_BUILTIN_NAMES[_code(model, op)] for op in graph.operators)
    if names["CUSTOM"]:
        custom = ", ".join(str(c.customCode) for c in model.operatorCodes if c.customCode)
        raise KernelBuildError(f"A kernel needs operators that phones do not have: {custom}")
    return names


def _converted(converter: Any) -> bytes:
    from tensorflow.lite.python.convert_phase import ConverterError

    try:
        return bytes(converter.convert())
    except ConverterError as err:
        reason = str(err).partition("error: ")[2].partition("\n")[0] or str(err)
        raise KernelBuildError(f"A kernel cannot be converted: {reason}") from err


def unpack(content: bytes) -> Any:
    """Return a TFLite file as the schema's objects."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))


def pack(model: Any) -> bytes:
    """Return the file of the schema's objects."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _code(model: Any, operator: Any) -> int:
    code = model.operatorCodes[operator.opcodeIndex]
    # Files keep codes up to 126 in the older 8-bit field as well; whichever is larger is the operator.
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


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
    """Drop codes that no operator has: an unused entry would still ask the runtime for the operator."""
    graph = model.subgraphs[0]
    used = sorted({op.opcodeIndex for op in graph.operators})
    for op in graph.operators:
        op.opcodeIndex = used.index(op.opcodeIndex)
    model.operatorCodes = [model.operatorCodes[i] for i in used]
