"""Multiply-accumulates of the network, by PyTorch, and of a TFLite file, by its operators.

Only convolutions and matrix products count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from export.adapter import adapted
from training.stylizer import network_size, style_size

WIDTH: Final = 1920
"""Of the frame and of the style photo, with `HEIGHT`."""
HEIGHT: Final = 1080

Shape = tuple[int, ...]


@torch.no_grad()
def stylizer_macs(stylizer: nn.Module) -> dict[str, Any]:
    """Count one grid of a 1080p frame; the guided finish has no matrix products.

    Returns:
        ``macs``, and ``macs_size``, the size of the network's input.
    """
    whole = adapted(stylizer)
    height, width = network_size(HEIGHT, WIDTH, whole.dims)
    with FlopCounterMode(display=False) as counter:
        whole.grid(torch.rand(1, 3, height, width), torch.rand(1, whole.style_code_size))
    return {"macs": counter.get_total_flops() // 2, "macs_size": f"{width}x{height}"}


@torch.no_grad()
def style_encoder_macs(stylizer: nn.Module) -> dict[str, Any]:
    """Count one style code of a 1080p photo; see `stylizer_macs`."""
    whole = adapted(stylizer)
    height, width = style_size(HEIGHT, WIDTH, whole.dims)
    with FlopCounterMode(display=False) as counter:
        whole.encode_style(torch.rand(1, 3, height, width))
    return {"macs": counter.get_total_flops() // 2, "macs_size": f"{width}x{height}"}


def tflite_macs(content: bytes, shapes: Mapping[str, Shape]) -> int:
    """Count one run of a TFLite file.

    Args:
        content: The file.
        shapes: Shapes of its inputs by name; an input that is omitted keeps its own.
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
    """Return the products per output value, times the number of output values."""
    if operator in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        kernel = inputs[1][1:] if operator == "CONV_2D" else inputs[1][1:3]
        return int(np.prod(output) * np.prod(kernel))
    if operator in ("FULLY_CONNECTED", "BATCH_MATMUL"):
        return int(np.prod(output) * inputs[0][-1])
    return 0
