"""``stylizer_map_WxH.tflite``: the lite network for frames of one size, converted from ONNX by onnx2tf.

It maps a uint8 frame 1×h×w×3, at the network's size for frames of W×H, and a style code to an affine map
1×h/8×w/8×12, like ``stylizer_map.tflite``, whose sizes are dynamic. It is for toolchains that want a static
graph straight from ONNX; on a CPU `export.kernels.stylizer_lite` takes about half the time.

onnx2tf turns NCHW into NHWC by following the axes of every tensor, and guesses where two axes have the same
length. In this network it summed a 3×3 matrix over the wrong axis: no error, but pictures 2 gray levels off.
A matrix product leaves nothing to guess; see `unambiguous`.

onnx2tf runs in a subprocess, because it prints and changes TensorFlow's settings permanently:
``python -m export.kernels.static_map GRAPH.onnx FOLDER``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from export.errors import GraphError
from export.kernels.convert import operators
from export.runtimes.subprocess_runner import last_error
from export.sizes import WidthHeight
from export.tflite_file import pack, unpack

if TYPE_CHECKING:
    from training.stylizer import StylizerNetwork

EXTRA = "onnx2tf"
# onnx2tf does not declare the others, but does not start without them.
PACKAGES = ("onnx2tf", "tf_keras", "onnx_graphsurgeon", "sng4onnx", "sne4onnx")
_TIMEOUT_S = 900


def static_map(stylizer: StylizerNetwork, size: WidthHeight, *, half: bool = True) -> bytes:
    """Convert the lite network for frames of one size.

    Args:
        stylizer: Of the lite variant.
        size: Of the frames.
        half: Store the weights in half precision; arithmetic is single precision either way.

    Returns:
        The TFLite file.

    Raises:
        GraphError: onnx2tf cannot convert the graph.
        KernelBuildError: It wrote an operator that phones lack.
    """
    from export.onnx_models.graphs import static_map_graph  # loads torch, which the subprocess does not need

    return through_onnx2tf(unambiguous(static_map_graph(stylizer, size)), half=half)


def unambiguous(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a static graph in which sums over the rows of a square matrix are products with ones."""
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
    """Convert a static graph with one output, whose images are NHWC already.

    Args:
        model: The graph.
        half: Store constants in half precision.

    Returns:
        The TFLite file; its output has the name of the graph's.

    Raises:
        GraphError: onnx2tf failed.
        KernelBuildError: It wrote an operator that phones lack.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "graph.onnx", Path(folder) / "converted"
        onnx.save(model, source)
        file = target / f"graph_float{16 if half else 32}.tflite"
        _run_onnx2tf(source, file)
        written = unpack(file.read_bytes())
    main = written.subgraphs[0]
    (output,), (index,) = model.graph.output, main.outputs
    main.tensors[index].name = output.name
    content = pack(written)
    operators(content)
    return content


def _run_onnx2tf(source: Path, file: Path) -> None:
    command = [sys.executable, "-m", "export.kernels.static_map", str(source), str(file.parent)]
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as err:
        raise GraphError(f"onnx2tf did not finish within {_TIMEOUT_S} s") from err
    if done.returncode or not file.is_file():
        raise GraphError(f"onnx2tf cannot convert the graph: {last_error(done.stdout + done.stderr)}")


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)


def _axes(node: Any, constants: dict[str, Any]) -> list[int]:
    keeps = any(each.name == "keepdims" and each.i for each in node.attribute)
    known = len(node.input) > 1 and node.input[1] in constants and not keeps
    return numpy_helper.to_array(constants[node.input[1]]).tolist() if known else []


def _product(model: onnx.ModelProto, node: Any, shape: tuple[int, ...]) -> Iterator[Any]:
    """Yield nodes that sum 1×n×n over its last axis: a product with n×1 ones, reshaped to 1×n."""
    (name,) = node.output
    ones = numpy_helper.from_array(np.ones((shape[2], 1), np.float32), f"{name}.ones")
    flat = numpy_helper.from_array(np.array(shape[:2], np.int64), f"{name}.shape")
    model.graph.initializer.extend([ones, flat])
    yield helper.make_node("MatMul", [node.input[0], ones.name], [f"{name}.column"])
    yield helper.make_node("Reshape", [f"{name}.column", flat.name], [name])


def _work(source: str, target: str) -> int:
    """Convert an ONNX file in this process into single- and half-precision files in the folder `target`."""
    import onnx2tf

    names = [value.name for value in onnx.load(source).graph.input]
    onnx2tf.convert(
        input_onnx_file_path=source,
        output_folder_path=target,
        keep_shape_absolutely_input_names=names,  # they are NHWC
        not_use_onnxsim=True,  # another package, and the graph is folded already
        disable_strict_mode=True,  # it would try every order of axes on random values, for minutes
        non_verbose=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(_work(*sys.argv[1:]))
