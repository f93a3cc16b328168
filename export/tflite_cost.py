"""What a TFLite file costs at one size: multiply-accumulates of its convolutions and matrix products."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

Shape = tuple[int, ...]


def tflite_macs(content: bytes, shapes: Mapping[str, Shape]) -> int:
    """Count one run.

    Args:
        content: The file.
        shapes: Of its inputs, by name; those left away keep theirs.
    """
    interpreter = Interpreter(
        model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    for tensor in interpreter.get_input_details():
        interpreter.resize_tensor_input(tensor["index"], shapes.get(tensor["name"], tensor["shape"]))
    interpreter.allocate_tensors()

    def shape(index: int) -> Shape:
        return tuple(map(int, interpreter._get_tensor_details(index, 0)["shape"]))

    return sum(
        _macs(op["op_name"], [shape(index) for index in op["inputs"] if index >= 0], shape(op["outputs"][0]))
        for op in interpreter._get_ops_details()
    )


def _macs(operator: str, inputs: list[Shape], output: Shape) -> int:
    """Return how many products go into an output, times its size."""
    if operator in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        kernel = inputs[1][1:] if operator == "CONV_2D" else inputs[1][1:3]
        return int(np.prod(output) * np.prod(kernel))
    if operator in ("FULLY_CONNECTED", "BATCH_MATMUL"):
        return int(np.prod(output) * inputs[0][-1])
    return 0
