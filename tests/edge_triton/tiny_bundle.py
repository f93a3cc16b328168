"""A bundle of two tiny ONNX models with the tensors of the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mvstylizer.bundle import Bundle, TensorSpec, file_spec, load_bundle, write_manifest

CELL = 16
BINS = 2
MAX_ROWS = 512
CODE = 3
STYLE = TensorSpec("style", "uint8", (1, -1, -1, 3), "NHWC RGB", "0..255")
STYLE_CODE = TensorSpec("style_code", "float32", (1, CODE), "", "")
FRAME = TensorSpec("frame", "uint8", (1, -1, -1, 3), "NHWC RGB", "0..255")
FACTOR = TensorSpec("r", "float32", (1,), "", "> 0")
STYLIZED = TensorSpec("stylized", "uint8", (1, -1, -1, 3), "NHWC RGB", "0..255")
GRID = TensorSpec("grid", "float32", (1, -1, -1, BINS, 12), "NHWDC 3x4", "")


def _value_info(spec: TensorSpec) -> onnx.ValueInfoProto:
    dtype = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT}[spec.dtype]
    return helper.make_tensor_value_info(spec.name, dtype, [None if d < 0 else d for d in spec.shape])


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    constants: dict[str, np.ndarray],
) -> None:
    graph = helper.make_graph(
        nodes,
        path.stem,
        [_value_info(spec) for spec in inputs],
        [_value_info(spec) for spec in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _save_style_encoder(path: Path, gain: float) -> None:
    """Mean color of the style, 0..gain."""
    node = helper.make_node
    nodes = [
        node("Cast", ["style"], ["f"], to=TensorProto.FLOAT),
        node("ReduceMean", ["f", "axes"], ["mean"], keepdims=0),
        node("Div", ["mean", "white"], ["style_code"]),
    ]
    constants = {"axes": np.array([1, 2]), "white": np.array(255 / gain, np.float32)}
    _save(path, nodes, (STYLE,), (STYLE_CODE,), constants)


def _save_stylizer(path: Path) -> None:
    """Half the frame plus half the style's mean color, upscaled by r; and the same as a grid.

    Computing an image with more rows than `MAX_ROWS` fails.
    """
    node = helper.make_node
    coefficients = np.zeros((CODE, 12), np.float32)
    coefficients[range(3), [3, 7, 11]] = 0.5
    gain = np.zeros((1, 12), np.float32)
    gain[0, [0, 5, 10]] = 0.5
    constants = {
        "coefficients": coefficients,
        "gain": gain,
        "white": np.array(255, np.float32),
        "half": np.array(0.5, np.float32),
        "zero": np.array(0, np.float32),
        "one": np.array([1]),
        "first": np.array([0]),
        "three": np.array([3]),
        "cell_depth": np.array([BINS, 12]),
        "cell": np.array([CELL]),
        "below": np.array([CELL - 1]),
        "cell_shape": np.array([1, 1, 1, 1, 12]),
        "pixel_shape": np.array([1, 1, 1, CODE]),
        "no_roi": np.zeros(0, np.float32),
        "no_scales": np.zeros(0, np.float32),
        "wire": np.zeros(MAX_ROWS, np.float32),
    }
    nodes = [
        node("Shape", ["frame"], ["size"], start=1, end=3),
        # grid
        node("MatMul", ["style_code", "coefficients"], ["offsets"]),
        node("Add", ["offsets", "gain"], ["row"]),
        node("Reshape", ["row", "cell_shape"], ["one_cell"]),
        node("Add", ["size", "below"], ["up"]),
        node("Div", ["up", "cell"], ["cells"]),
        node("Concat", ["one", "cells", "cell_depth"], ["grid_shape"], axis=0),
        node("Expand", ["one_cell", "grid_shape"], ["grid"]),
        # stylized
        node("Cast", ["size"], ["size_f"], to=TensorProto.FLOAT),
        node("Mul", ["size_f", "r"], ["larger_f"]),
        node("Round", ["larger_f"], ["rounded"]),
        node("Cast", ["rounded"], ["larger"], to=TensorProto.INT64),
        node("Concat", ["one", "larger", "three"], ["image_shape"], axis=0),
        node("Cast", ["frame"], ["frame_f"], to=TensorProto.FLOAT),
        node("Resize", ["frame_f", "no_roi", "no_scales", "image_shape"], ["big"], mode="nearest"),
        node("Gather", ["larger", "first"], ["height"]),
        node("Sub", ["height", "one"], ["last"]),
        node("Gather", ["wire", "last"], ["nothing"]),
        node("Mul", ["big", "half"], ["dim"]),
        node("Mul", ["style_code", "white"], ["style_255"]),
        node("Mul", ["style_255", "half"], ["tint"]),
        node("Reshape", ["tint", "pixel_shape"], ["tint_pixel"]),
        node("Add", ["dim", "tint_pixel"], ["sum"]),
        node("Add", ["sum", "nothing"], ["whole"]),
        node("Clip", ["whole", "zero", "white"], ["clipped"]),
        node("Round", ["clipped"], ["levels"]),
        node("Cast", ["levels"], ["stylized"], to=TensorProto.UINT8),
    ]
    _save(path, nodes, (FRAME, STYLE_CODE, FACTOR), (STYLIZED, GRID), constants)


def make_bundle(folder: Path, version: int = 1, gain: float = 1.0) -> Bundle:
    folder.mkdir(parents=True, exist_ok=True)
    _save_style_encoder(folder / "style_encoder.onnx", gain)
    _save_stylizer(folder / "stylizer.onnx")
    files = (
        file_spec(folder, "style_encoder", "style_encoder.onnx", (STYLE,), (STYLE_CODE,)),
        file_spec(folder, "stylizer", "stylizer.onnx", (FRAME, STYLE_CODE, FACTOR), (STYLIZED, GRID)),
    )
    write_manifest(Bundle(folder, "tiny", version, files))
    return load_bundle(folder)
