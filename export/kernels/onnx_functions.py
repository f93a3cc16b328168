"""ONNX operators as TensorFlow functions on static shapes, in ONNX's own layouts.

For graphs that `onnx_graph.folded` has prepared: constants are initializers, and all shapes are known.
Layouts stay as they are (NCHW images are transposed around convolutions alone), so there is nothing to guess.
A converter that follows the axes of every tensor, such as onnx2tf, has to guess where two are equally long.

Each function takes a node's attributes and its inputs (TensorFlow tensors, NumPy arrays, or None where an
optional input is left out) and returns the output. Integers are int32, since phones' delegates have no int64.
Operators: https://onnx.ai/onnx/operators, opset 18.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, Final

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from export.kernels.convert import KernelBuildError, tensorflow

Attributes = Mapping[str, Any]
Function = Callable[..., Any]
DTYPES: Final = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.BOOL: "bool",
    onnx.TensorProto.INT32: "int32",
    onnx.TensorProto.INT64: "int32",
}


def functions() -> dict[str, Function]:
    """Return the function of each operator.

    Raises:
        MissingExtraError: TensorFlow is not installed.
    """
    tf = tensorflow()
    plain = {
        "Abs": tf.abs,
        "Add": tf.add,
        "Div": tf.divide,
        "Exp": tf.exp,
        "Floor": tf.floor,
        "Greater": tf.greater,
        "Identity": tf.identity,
        "Less": tf.less,
        "Log": tf.math.log,
        "MatMul": tf.matmul,
        "Mul": tf.multiply,
        "Neg": tf.negative,
        "Pow": _power,
        "Reciprocal": lambda x: 1.0 / x,
        "Relu": tf.nn.relu,
        "Sqrt": tf.sqrt,
        "Sub": tf.subtract,
        "Tanh": tf.tanh,
        "Where": tf.where,
        "Max": lambda *xs: reduce(tf.maximum, xs),
        "Min": lambda *xs: reduce(tf.minimum, xs),
        "Clip": _clip,
        "Expand": lambda x, shape: tf.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape))),
        "GatherND": lambda x, indices: tf.gather_nd(x, tf.cast(indices, tf.int32)),
        "Reshape": _reshape,
        "Slice": _slice,
        "Squeeze": lambda x, axes=None: tf.squeeze(x, None if axes is None else list(axes)),
        "Unsqueeze": lambda x, axes: reduce(tf.expand_dims, sorted(_positive(axes, len(axes), x)), x),
    }
    reductions = {
        "ReduceL2": tf.norm,
        "ReduceMax": tf.reduce_max,
        "ReduceMean": tf.reduce_mean,
        "ReduceMin": tf.reduce_min,
        "ReduceSum": tf.reduce_sum,
    }
    return {
        **{name: _without_attributes(function) for name, function in plain.items()},
        **{name: _reduction(function) for name, function in reductions.items()},
        "AveragePool": _average_pool,
        "Cast": lambda a, x: tf.cast(x, DTYPES[a["to"]]),
        "Concat": lambda a, *xs: tf.concat(xs, a["axis"]),
        "Conv": _conv,
        "CumSum": lambda _, x, axis: tf.cumsum(x, int(axis)),
        "Gather": lambda a, x, indices: tf.gather(x, indices, axis=a.get("axis", 0)),
        "GatherElements": _gather_elements,
        "Gemm": _gemm,
        "Pad": _pad,
        "Resize": _resize,
        "Softmax": lambda a, x: tf.nn.softmax(x, a.get("axis", -1)),
        "Transpose": lambda a, x: tf.transpose(x, a["perm"]),
    }


def _without_attributes(function: Function) -> Function:
    return lambda _, *inputs: function(*inputs)


def _reduction(function: Function) -> Function:
    def reduced(attributes: Attributes, x: Any, axes: Any = None) -> Any:
        axis = None if axes is None else [int(a) for a in axes]
        if axis is not None and len(axis) == 1:
            (axis,) = axis  # type: ignore[assignment]
        return function(x, axis=axis, keepdims=bool(attributes.get("keepdims", 1)))

    return reduced


def _positive(axes: Any, added: int, x: Any) -> list[int]:
    return [int(axis) % (len(x.shape) + added) for axis in axes]


def _power(x: Any, exponent: Any) -> Any:
    tf = tensorflow()
    return tf.square(x) if np.size(exponent) == 1 and float(exponent) == 2 else tf.pow(x, exponent)


def _clip(x: Any, low: Any = None, high: Any = None) -> Any:
    tf = tensorflow()
    x = x if low is None else tf.maximum(x, low)
    return x if high is None else tf.minimum(x, high)


def _reshape(x: Any, shape: Any) -> Any:
    return tensorflow().reshape(x, [x.shape[i] if n == 0 else int(n) for i, n in enumerate(shape)])


def _slice(x: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Any:
    where = [slice(None)] * len(x.shape)
    axes = range(len(starts)) if axes is None else axes
    steps = np.ones(len(starts), int) if steps is None else steps
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        where[axis] = slice(int(start), min(int(end), int(x.shape[axis])), int(step))
    return x[tuple(where)]


def _gather_elements(attributes: Attributes, x: Any, indices: Any) -> Any:
    tf = tensorflow()
    if attributes.get("axis", 0) % len(x.shape) != len(x.shape) - 1:
        raise KernelBuildError("GatherElements along another axis than the last has no TFLite form")
    return tf.gather(x, tf.cast(indices, tf.int32), axis=-1, batch_dims=len(x.shape) - 1)


def _gemm(attributes: Attributes, a: Any, b: Any, c: Any = None) -> Any:
    tf = tensorflow()
    turned = {
        "transpose_a": bool(attributes.get("transA", 0)),
        "transpose_b": bool(attributes.get("transB", 0)),
    }
    product = tf.matmul(a, b, **turned) * float(attributes.get("alpha", 1.0))
    return product if c is None else product + c * float(attributes.get("beta", 1.0))


def _conv(attributes: Attributes, x: Any, kernel: Any, bias: Any = None) -> Any:
    """Convolve along the last one or two axes."""
    tf = tensorflow()
    if attributes.get("group", 1) != 1 or set(attributes.get("dilations", [1])) != {1}:
        raise KernelBuildError("Grouped and dilated convolutions have no TFLite form here")
    spatial = len(kernel.shape) - 2
    lead, last = list(range(2, spatial + 2)), [0, spatial + 1]
    pads = np.reshape(attributes.get("pads", [0] * 2 * spatial), (2, spatial)).T.tolist()
    x = tf.pad(tf.transpose(x, [0, *lead, 1]), [[0, 0], *pads, [0, 0]])
    strides = list(attributes.get("strides", [1] * spatial))
    convolve = {1: tf.nn.conv1d, 2: tf.nn.conv2d}[spatial]
    y = convolve(x, tf.transpose(kernel, [*lead, 1, 0]), strides if spatial > 1 else strides[0], "VALID")
    y = y if bias is None else y + bias
    return tf.transpose(y, [last[0], last[1], *range(1, spatial + 1)])


def _average_pool(attributes: Attributes, x: Any) -> Any:
    """Pool without padding, or with padding that does not count and keeps the size."""
    tf = tensorflow()
    side = list(attributes["kernel_shape"])
    strides, pads = list(attributes.get("strides", [1, 1])), list(attributes.get("pads", [0] * 4))
    same = (
        strides == [1, 1]
        and pads == [n // 2 for n in side] * 2
        and not attributes.get("count_include_pad", 0)
    )
    if any(pads) and not same:
        raise KernelBuildError("Average pooling that counts its padding has no TFLite form")
    pooled = tf.nn.avg_pool2d(tf.transpose(x, [0, 2, 3, 1]), side, strides, "SAME" if same else "VALID")
    return tf.transpose(pooled, [0, 3, 1, 2])


def _pad(attributes: Attributes, x: Any, pads: Any, value: Any = None, _axes: Any = None) -> Any:
    tf = tensorflow()
    mode = attributes.get("mode", b"constant").decode()
    pairs = np.reshape(pads, (2, -1)).T.tolist()
    if _axes is not None or mode not in ("constant", "edge"):
        raise KernelBuildError(f"Padding of mode {mode} has no TFLite form here")
    if mode == "constant":
        return tf.pad(x, pairs, constant_values=0.0 if value is None else float(value))
    for axis, (before, after) in enumerate(pairs):
        first, final = (tf.gather(x, [k], axis=axis) for k in (0, int(x.shape[axis]) - 1))
        x = tf.concat([first] * before + [x] + [final] * after, axis) if before or after else x
    return x


def _resize(attributes: Attributes, x: Any, _region: Any, scales: Any = None, sizes: Any = None) -> Any:
    """Resize by one matrix product per axis; the matrices are ONNX's own results for unit vectors."""
    tf = tensorflow()
    wanted = sizes if sizes is not None else np.floor(np.multiply(x.shape, scales)).astype(int)
    for axis, size in enumerate(int(n) for n in wanted):
        if size != x.shape[axis]:
            turned = tf.tensordot(_resampling(attributes, int(x.shape[axis]), size), x, [[1], [axis]])
            x = tf.transpose(turned, [*range(1, axis + 1), 0, *range(axis + 1, len(x.shape))])
    return x


def _resampling(attributes: Attributes, before: int, after: int) -> Any:
    """Return the after×before matrix that resizes one axis."""
    node = onnx.helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], **attributes)
    kind = onnx.TensorProto.FLOAT
    values = [onnx.helper.make_tensor_value_info(name, kind, None) for name in ("x", "y")]
    size = onnx.numpy_helper.from_array(np.array([after, before]), "sizes")
    graph = onnx.helper.make_graph([node], "resampling", values[:1], values[1:], [size])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    (matrix,) = ReferenceEvaluator(model).run(None, {"x": np.eye(before, dtype=np.float32)})
    return np.asarray(matrix, np.float32)
