"""Read a TFLite file as a graph: operators in order, tensors with shapes, types and constants."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.errors import GraphError
from export.runtimes.difference import Array
from export.tflite_file import OPERATOR_NAMES, builtin_code, unpack

_TYPES: dict[int, str] = {
    code: name.lower() for name, code in vars(schema.TensorType).items() if isinstance(code, int)
}


class Node(NamedTuple):
    """One operation.

    Attributes:
        number: Position in the order of execution.
        operator: Name in TFLite's schema, or of the custom operator.
        inputs: Tensor indices; -1 is an omitted optional input.
        outputs: Tensor indices.
        options: The schema's options object, or None.
    """

    number: int
    operator: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any

    def __str__(self) -> str:
        return f"{self.operator} #{self.number}"


class Graph:
    """The main graph of a TFLite file.

    Args:
        content: The file.

    Attributes:
        signature_name: Name of its signature; empty if it has none, as the files of older versions.

    Raises:
        GraphError: It is not a TFLite file.
    """

    def __init__(self, content: bytes) -> None:
        if content[4:8] != b"TFL3":
            raise GraphError("The file is not a TFLite model", "Name a .tflite file")
        model = unpack(content)
        main = model.subgraphs[0]
        self._tensors, self._buffers = main.tensors, model.buffers
        self.inputs, self.outputs = tuple(map(int, main.inputs)), tuple(map(int, main.outputs))
        self.nodes = [
            Node(
                number,
                _operator_name(model.operatorCodes[op.opcodeIndex]),
                tuple(map(int, op.inputs)),
                tuple(map(int, op.outputs)),
                op.builtinOptions,
            )
            for number, op in enumerate(main.operators)
        ]
        self.signature_name = _text(model.signatureDefs[0].signatureKey) if model.signatureDefs else ""
        self._producers = {tensor: node for node in self.nodes for tensor in node.outputs}

    def name(self, tensor: int) -> str:
        """Return a tensor's name."""
        return _text(self._tensors[tensor].name)

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Return a tensor's shape; a dynamic dimension is 1."""
        shape = self._tensors[tensor].shape
        return () if shape is None else tuple(map(int, shape))

    def signature(self, tensor: int) -> tuple[int, ...]:
        """Return a tensor's shape; a dynamic dimension is -1."""
        signature = self._tensors[tensor].shapeSignature
        return self.shape(tensor) if signature is None or not len(signature) else tuple(map(int, signature))

    def dtype(self, tensor: int) -> str:
        """Return a tensor's type, for example ``float32``."""
        return _TYPES[self._tensors[tensor].type]

    def quantized(self, tensor: int) -> bool:
        """Return whether a tensor has a scale."""
        quantization = self._tensors[tensor].quantization
        return quantization is not None and quantization.scale is not None and len(quantization.scale) > 0

    def constant(self, tensor: int) -> Array | None:
        """Return a tensor's value if it is a constant in the file."""
        if tensor < 0 or tensor in self._producers or tensor in self.inputs:
            return None
        data = self._buffers[self._tensors[tensor].buffer].data
        if data is None:
            return None
        return np.frombuffer(bytes(data), np.dtype(self.dtype(tensor))).reshape(self.shape(tensor))

    def producer(self, tensor: int) -> Node | None:
        """Return the operation that computes a tensor, None for inputs and constants."""
        return self._producers.get(tensor)

    def parameters(self) -> int:
        """Return the number of floating-point constants in the file."""
        return sum(
            int(np.prod(self.shape(tensor)))
            for tensor in range(len(self._tensors))
            if self.dtype(tensor) in ("float32", "float16") and self.constant(tensor) is not None
        )


def _operator_name(code: Any) -> str:
    builtin = builtin_code(code)
    return _text(code.customCode) if builtin == schema.BuiltinOperator.CUSTOM else OPERATOR_NAMES[builtin]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
