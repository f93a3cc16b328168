"""Finish an exported ONNX file: weights in half precision, metadata, checks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

from export.errors import GraphError
from export.onnx_models.graph_text import OPSET

Precision = Literal["fp16", "fp32"]
"""How weights are stored that are not quantized."""
MIN_HALF_SIZE = 256  # elements of an initializer that is stored in half precision, at least


def save_model(model: onnx.ModelProto, path: Path, precision: Precision, metadata: Mapping[str, str]) -> None:
    """Clean up a merged graph, check it and write it.

    Args:
        model: The graph; changed in place.
        path: The file; its stem becomes the graph's name.
        precision: ``fp16`` stores large weights in half precision, ``fp32`` leaves them unchanged.
        metadata: Entries of the file's ``metadata_props``; each key gets the prefix ``mvstylizer.``.

    Raises:
        GraphError: See `check_graph`.
    """
    model.graph.name = path.stem
    model.producer_name = "mvstylizer"
    del model.graph.value_info[:]
    del model.opset_import[1:]  # merging repeats the entry for each part
    if precision == "fp16":
        _halve(model)
    onnx.helper.set_model_props(model, {f"mvstylizer.{k}": v for k, v in sorted(metadata.items())})
    check_graph(model, path.name)
    onnx.save(model, path)


def check_graph(model: onnx.ModelProto, name: str) -> None:
    """Reject a graph that is not valid or not clean.

    Raises:
        GraphError: The ONNX checker rejects it, it needs operators other than the standard ones of opset 18,
            or it has an unused initializer.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as err:
        raise GraphError(f"{name} is not a valid ONNX graph: {err}") from err
    opsets = [(entry.domain, entry.version) for entry in model.opset_import]
    if opsets != [("", OPSET)]:
        raise GraphError(f"{name} needs the operator sets {opsets} instead of opset {OPSET} alone")
    used = {name for node in model.graph.node for name in node.input}
    used |= {output.name for output in model.graph.output}
    unused = sorted({initializer.name for initializer in model.graph.initializer} - used)
    if unused:
        raise GraphError(f"{name} has unused initializers: {', '.join(unused)}")


def round_weights(stylizer: nn.Module) -> None:
    """Round the weights that `save_model` stores in half precision, so that the reference has the same ones.

    Raises:
        GraphError: A weight is beyond the range of half precision.
    """
    for name, values in stylizer.state_dict().items():
        if not values.is_floating_point() or values.numel() < MIN_HALF_SIZE:
            continue
        rounded = values.half().to(values.dtype)
        if not torch.isfinite(rounded).all():
            raise GraphError(f"Weight {name} is beyond the range of half precision", "Use --precision fp32")
        values.copy_(rounded)


def parameters(path: Path) -> int:
    """Return the number of weights in an ONNX file, in floating point or eight bits."""
    kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.INT8)
    graph = onnx.load(path).graph
    return sum(int(np.prod(i.dims)) for i in graph.initializer if i.data_type in kinds)


def single_precision(path: Path) -> bytes:
    """Return an ONNX file whose weights in half precision are stored in single precision instead."""
    model = onnx.load(path)
    initializers = {each.name: each for each in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        stored = initializers.get(node.input[0]) if node.op_type == "Cast" else None
        if stored is None or stored.data_type != onnx.TensorProto.FLOAT16:
            nodes.append(node)
            continue
        values = numpy_helper.to_array(stored).astype(np.float32)
        stored.CopyFrom(numpy_helper.from_array(values, node.output[0]))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    content: bytes = model.SerializeToString()
    return content


def _halve(model: onnx.ModelProto) -> None:
    """Replace large float32 initializers by float16 ones followed by a Cast, which runtimes fold at load."""
    casts = []
    for initializer in model.graph.initializer:
        values = numpy_helper.to_array(initializer)
        if values.dtype != np.float32 or values.size < MIN_HALF_SIZE:
            continue
        name = initializer.name
        initializer.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
