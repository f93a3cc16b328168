"""``stylizer_map_WxH.tflite``: the lite network for frames of one size, made of its ONNX graph by onnx2tf.

In words: uint8 frame 1×h×w×3 at the size that the network works at for frames of W×H, and a style code, to an
affine map 1×h/8×w/8×12, as ``stylizer_map.tflite``, whose sizes are free. For toolchains that want a graph
of static shapes straight from ONNX; on a CPU `export.kernels.stylizer_lite` takes about half the time.

onnx2tf turns NCHW into NHWC by following every tensor's axes. Where two axes are equally long it guesses. Of
this network it summed a 3×3 matrix over the wrong axis: no error, and pictures 2 gray levels off. A matrix
product leaves nothing to guess; see `unambiguous`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from export.errors import GraphError
from export.kernels.convert import operators, pack, unpack
from export.onnx_models.graphs import traced
from export.runtimes.subprocess_runner import last_error
from export.sizes import Size
from training.stylizer import StylizerNetwork, network_size

EXTRA = "onnx2tf"
# onnx2tf declares none of the others, and does not start without them.
PACKAGES = ("onnx2tf", "tf_keras", "onnx_graphsurgeon", "sng4onnx", "sne4onnx")
_LIMIT_S = 900


class PhotoMap(nn.Module):
    """Trace-only wrapper: uint8 frame (1×h×w×3) and style code → affine map 1×gh×gw×12."""

    def __init__(self, stylizer: StylizerNetwork) -> None:
        super().__init__()
        self.stylizer = stylizer

    def forward(self, frame: Tensor, style_code: Tensor) -> Tensor:
        """See `StylizerNetwork.affine_map`."""
        content = frame.permute(0, 3, 1, 2).float() * (1 / 255)
        return self.stylizer.affine_map(content, style_code).permute(0, 2, 3, 1)


def static_map(stylizer: StylizerNetwork, size: Size, *, half: bool = True) -> bytes:
    """Convert the lite network for frames of one size.

    Args:
        stylizer: Of the lite variant.
        size: Width and height of the frames.
        half: Store the weights in half precision; arithmetic is single precision either way.

    Returns:
        The TFLite file.

    Raises:
        GraphError: onnx2tf cannot convert the graph.
        KernelBuildError: It wrote an operator that phones lack.
    """
    width, height = size
    rows, columns = network_size(height, width, stylizer.dims)
    example = (torch.zeros(1, rows, columns, 3, dtype=torch.uint8), torch.rand(1, stylizer.style_code_size))
    graph = traced(PhotoMap(stylizer), example, ["frame", "style_code"], ["affine_map"])
    return through_onnx2tf(unambiguous(graph), half=half)


def unambiguous(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a graph of static shapes with the sums over a square matrix's rows as products with ones."""
    model = onnx.shape_inference.infer_shapes(model)
    shapes = {value.name: _shape(value) for value in (*model.graph.value_info, *model.graph.input)}
    constants = {each.name: each for each in model.graph.initializer}
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        shape = shapes.get(node.input[0], ()) if node.op_type == "ReduceSum" else ()
        if len(shape) == 3 and shape[1] == shape[2] and _axes(node, constants) in ([2], [-1]):
            model.graph.node.extend(_product(model, node, shape))
        else:
            model.graph.node.append(node)
    onnx.checker.check_model(model, full_check=True)
    return model


def through_onnx2tf(model: onnx.ModelProto, *, half: bool) -> bytes:
    """Convert a graph of static shapes and one output; its images are NHWC already.

    Args:
        model: The graph.
        half: Store constants in half precision.

    Returns:
        The TFLite file, its output named as the graph's.

    Raises:
        GraphError: onnx2tf cannot.
        KernelBuildError: It wrote an operator that phones lack.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "graph.onnx", Path(folder) / "converted"
        onnx.save(model, source)
        command = [sys.executable, "-m", "export.kernels.static_map_worker", str(source), str(target)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
        except subprocess.TimeoutExpired as err:
            raise GraphError(f"onnx2tf did not finish in {_LIMIT_S} s") from err
        file = target / f"graph_float{16 if half else 32}.tflite"
        if done.returncode or not file.is_file():
            raise GraphError(f"onnx2tf cannot convert the graph: {last_error(done.stdout + done.stderr)}")
        written = unpack(file.read_bytes())
    main = written.subgraphs[0]
    (output,), (index,) = model.graph.output, main.outputs
    main.tensors[index].name = output.name
    content = pack(written)
    operators(content)
    return content


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)


def _axes(node: Any, constants: dict[str, Any]) -> list[int]:
    keeps = any(each.name == "keepdims" and each.i for each in node.attribute)
    known = len(node.input) > 1 and node.input[1] in constants and not keeps
    return numpy_helper.to_array(constants[node.input[1]]).tolist() if known else []


def _product(model: onnx.ModelProto, node: Any, shape: tuple[int, ...]) -> Iterator[Any]:
    """Yield what sums 1×n×n over its last axis: times n ones, and the 1 at the end taken away."""
    (name,) = node.output
    ones = numpy_helper.from_array(np.ones((shape[2], 1), np.float32), f"{name}.ones")
    flat = numpy_helper.from_array(np.array(shape[:2], np.int64), f"{name}.shape")
    model.graph.initializer.extend([ones, flat])
    yield helper.make_node("MatMul", [node.input[0], ones.name], [f"{name}.column"])
    yield helper.make_node("Reshape", [f"{name}.column", flat.name], [name])
