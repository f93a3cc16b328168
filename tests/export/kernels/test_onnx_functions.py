"""Each ONNX operator as TFLite against ONNX's own reference implementation."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from export.kernels.convert import KernelBuildError
from export.kernels.onnx_graph import as_tflite
from export.runtimes.cpu import CPU_LANES, run_on_cpu
from mvstylizer.bundle import TensorSpec

FLOAT = onnx.TensorProto.FLOAT
RNG = np.random.default_rng(0)
IMAGE = RNG.random((1, 3, 8, 12), np.float32)
ROWS = RNG.random((1, 6), np.float32)
KERNEL = RNG.random((4, 3, 3, 3), np.float32)
Constants = dict[str, Any]

# Name of the case: operator, input, its constants in order (None where one is left out), attributes.
CASES: dict[str, tuple[str, Any, list[Any], dict[str, Any]]] = {
    "convolution": (
        "Conv",
        IMAGE,
        [KERNEL, np.ones(4, np.float32)],
        {"pads": [1, 1, 1, 1], "strides": [2, 2]},
    ),
    "convolution without bias": ("Conv", IMAGE, [KERNEL], {"kernel_shape": [3, 3]}),
    "convolution of a row": ("Conv", IMAGE[:, :, 0], [KERNEL[:, :, 0]], {"pads": [0, 0]}),
    "pooling": ("AveragePool", IMAGE, [], {"kernel_shape": [4, 4], "strides": [4, 4]}),
    "pooling that ignores its padding": (
        "AveragePool",
        IMAGE,
        [],
        {"kernel_shape": [5, 5], "strides": [1, 1], "pads": [2, 2, 2, 2], "count_include_pad": 0},
    ),
    "upsampling": (
        "Resize",
        IMAGE,
        [None, None, np.array([1, 3, 16, 24])],
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    ),
    "linear resizing between corners": (
        "Resize",
        IMAGE,
        [None, None, np.array([1, 5, 15, 9])],
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    ),
    "resizing by scales": ("Resize", IMAGE, [None, np.array([1, 1, 0.5, 2], np.float32)], {"mode": "linear"}),
    "matrix product with bias": (
        "Gemm",
        ROWS,
        [RNG.random((4, 6), np.float32), np.ones(4, np.float32)],
        {"transB": 1, "alpha": 0.5, "beta": 2.0},
    ),
    "zeros around": ("Pad", IMAGE, [np.array([0, 0, 1, 2, 0, 0, 0, 1])], {}),
    "edges repeated": ("Pad", IMAGE, [np.array([0, 0, 3, 0, 0, 0, 3, 0])], {"mode": "edge"}),
    "slice to the end": ("Slice", IMAGE, [np.array([1]), np.array([2**63 - 1]), np.array([3])], {}),
    "slice from the end, in steps": (
        "Slice",
        IMAGE,
        [np.array([-5]), np.array([12]), np.array([-1]), np.array([2])],
        {},
    ),
    "one row": ("Gather", IMAGE, [np.array(2)], {"axis": 2}),
    "rows by a matrix": ("Gather", IMAGE, [np.array([[0, 2], [1, 1]])], {"axis": 1}),
    "values by index": ("GatherElements", ROWS, [np.array([[5, 0, 0, 3]])], {"axis": 1}),
    "mean over the picture": ("ReduceMean", IMAGE, [np.array([2, 3])], {"keepdims": 1}),
    "length of a vector": ("ReduceL2", ROWS, [np.array([1])], {"keepdims": 1}),
    "sum over everything": ("ReduceSum", IMAGE, [], {"keepdims": 0}),
    "running sum": ("CumSum", ROWS, [np.array(1)], {}),
    "clipped from below": ("Clip", ROWS, [np.array(0.5, np.float32)], {}),
    "clipped from above": ("Clip", ROWS, [None, np.array(0.5, np.float32)], {}),
    "square": ("Pow", ROWS, [np.array(2.0, np.float32)], {}),
    "gamma": ("Pow", ROWS, [np.array(2.4, np.float32)], {}),
    "new axes": ("Unsqueeze", ROWS, [np.array([0, -1])], {}),
    "axes away": ("Squeeze", IMAGE, [np.array([0])], {}),
    "another shape, one side copied": ("Reshape", IMAGE, [np.array([0, -1, 4])], {}),
    "repeated rows": ("Expand", ROWS, [np.array([3, 1])], {}),
    "shares": ("Softmax", IMAGE, [], {"axis": 1}),
    "largest of three": ("Max", ROWS, [np.full(6, 0.4, np.float32), np.full((1, 1), 0.5, np.float32)], {}),
    "axes exchanged": ("Transpose", IMAGE, [], {"perm": [0, 2, 3, 1]}),
}


def graph(operator: str, given: Any, constants: list[Any], attributes: dict[str, Any]) -> onnx.ModelProto:
    """Return a graph of one node; a second one keeps ONNX Runtime from folding it away."""
    names = ["" if value is None else f"c{index}" for index, value in enumerate(constants)]
    stored = [
        numpy_helper.from_array(value, name) for name, value in zip(names, constants, strict=True) if name
    ]
    nodes = [
        helper.make_node("Mul", ["x", "two"], ["doubled"]),
        helper.make_node(operator, ["doubled", *names], ["y"], **attributes),
    ]
    stored.append(numpy_helper.from_array(np.array(2, np.float32), "two"))
    values = [
        helper.make_tensor_value_info("x", FLOAT, given.shape),
        helper.make_tensor_value_info("y", FLOAT, None),
    ]
    made = helper.make_graph(nodes, "one", values[:1], values[1:], stored)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize("case", CASES)
def test_an_operator_computes_what_onnx_defines(case: str) -> None:
    operator, given, constants, attributes = CASES[case]
    model = graph(operator, given, constants, attributes)
    (expected,) = ReferenceEvaluator(model).run(None, {"x": given})
    specs = TensorSpec("x", "float32", given.shape), TensorSpec("y", "float32", np.shape(expected))
    content = as_tflite(model, specs[:1], specs[1:], half=False)
    for lane in CPU_LANES:
        (found,) = run_on_cpu(content, {"x": given}, lane)
        assert found.shape == np.shape(expected)
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=lane)


@pytest.mark.parametrize(
    ("operator", "constants", "attributes", "said"),
    [
        ("Erf", [], {}, "ONNX operator Erf has no TFLite form"),
        ("Conv", [RNG.random((3, 1, 3, 3), np.float32)], {"group": 3}, "Grouped and dilated"),
        ("Conv", [KERNEL], {"dilations": [2, 2]}, "Grouped and dilated"),
        ("Pad", [np.array([0, 0, 1, 1, 0, 0, 1, 1])], {"mode": "reflect"}, "mode reflect"),
        ("GatherElements", [np.zeros((1, 1, 1, 1), np.int64)], {"axis": 1}, "another axis"),
        (
            "AveragePool",
            [],
            {"kernel_shape": [3, 3], "pads": [1] * 4, "count_include_pad": 1},
            "counts its padding",
        ),
    ],
)
def test_what_has_no_tflite_form_is_named(
    operator: str, constants: list[Any], attributes: dict[str, Any], said: str
) -> None:
    model = graph(operator, IMAGE, constants, attributes)
    specs = TensorSpec("x", "float32", IMAGE.shape), TensorSpec("y", "float32", IMAGE.shape)
    with pytest.raises(KernelBuildError, match=said):
        as_tflite(model, specs[:1], specs[1:], half=False)
