"""What generic tools read of a TFLite file: one named signature, and a default shape that runs.

A file for any frame size has 1 in place of each dynamic dimension when it leaves the converter, and tools
that do not resize inputs (benchmark_model, LiteRT's CompiledModel) fail on such shapes. Here every tensor
gets its shape for one default frame; the dimensions stay dynamic (-1 in the shape signature).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from export.tflite_file import pack, unpack
from mvstylizer.bundle import TensorSpec

DEFAULT_FRAME = (512, 288)
"""Width and height of the frame that default shapes are for: the network's size."""

Shapes = Mapping[str, Sequence[int]]


def described(
    content: bytes,
    name: str,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    default: Shapes | None = None,
) -> bytes:
    """Return a TFLite file with a signature, and with default shapes if it has dynamic dimensions.

    Args:
        content: The file.
        name: Key of the signature.
        inputs: Names of the inputs, in the file's order of the same names.
        outputs: Names of the outputs, in the file's order.
        default: Shapes of the inputs that are dynamic, for one default frame.
    """
    model = unpack(content)
    graph = model.subgraphs[0]
    places = {_text(graph.tensors[index].name): index for index in graph.inputs}
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = name, 0
    signature.inputs = [_entry(spec.name, places[spec.name]) for spec in inputs]
    signature.outputs = [_entry(spec.name, at) for spec, at in zip(outputs, graph.outputs, strict=True)]
    model.signatureDefs = [signature]
    if default:
        _set_shapes(graph, _shapes(content, default))
    return pack(model)


def _entry(name: str, tensor: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, tensor
    return entry


def _shapes(content: bytes, default: Shapes) -> list[tuple[int, ...]]:
    """Return the shape of each tensor of the file for the default inputs, by the runtime's own rules."""
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    for detail in interpreter.get_input_details():
        if detail["name"] in default:
            interpreter.resize_tensor_input(detail["index"], default[detail["name"]])
    interpreter.allocate_tensors()
    count = len(unpack(content).subgraphs[0].tensors)
    return [tuple(map(int, interpreter._get_tensor_details(index, 0)["shape"])) for index in range(count)]


def _set_shapes(graph: Any, shapes: list[tuple[int, ...]]) -> None:
    for tensor, shape in zip(graph.tensors, shapes, strict=True):
        if tensor.shapeSignature is not None and -1 in list(tensor.shapeSignature):
            tensor.shape = list(shape)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
