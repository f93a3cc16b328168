"""Translate a kernel's TFLite graph to ONNX, operator by operator, for runtimes that read only ONNX.

Qualcomm's Hexagon library runs on a host through ONNX Runtime, which LiteRT's compiled files do not. The
translation, the twin, has the same operations, constants and order, so it shows the numerics of the file.
Only the operators of the accelerators' kernels are supported. Tensors stay NHWC, except within the resize.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

from export.errors import GraphError
from export.onnx_models.graph_text import IR_VERSION, OPSET
from export.runtimes.tflite_graph import Graph, Node

_PLAIN = {
    "ADD": "Add",
    "SUB": "Sub",
    "MUL": "Mul",
    "MAXIMUM": "Max",
    "MINIMUM": "Min",
    "ABS": "Abs",
    "FLOOR": "Floor",
    "RELU": "Relu",
}
_TYPES = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32, "uint8": TensorProto.UINT8}


def onnx_twin(content: bytes) -> onnx.ModelProto:
    """Translate a kernel's file.

    Raises:
        GraphError: It is not a TFLite file, or has an unsupported operator.
    """
    return _Translation(Graph(content)).model()


class _Translation:
    """Collects nodes and initializers of the twin; a tensor is named after its index."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._translate: dict[str, Callable[[Node], None]] = {
            "CAST": self._cast,
            "RESHAPE": self._reshape,
            "GATHER": self._gather,
            "SPLIT": self._split,
            "RESIZE_BILINEAR": self._resize,
        }

    def model(self) -> onnx.ModelProto:
        for node in self._graph.nodes:
            if node.operator in _PLAIN:
                self._plain(node)
            elif node.operator in self._translate:
                self._translate[node.operator](node)
            else:
                raise GraphError(f"{node} cannot be translated to ONNX")
        values = [
            [self._value(tensor) for tensor in side] for side in (self._graph.inputs, self._graph.outputs)
        ]
        graph = helper.make_graph(self._nodes, "twin", values[0], values[1], list(self._constants.values()))
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )
        onnx.checker.check_model(model, full_check=True)
        return model

    def _value(self, tensor: int) -> onnx.ValueInfoProto:
        kind, shape = _TYPES[self._graph.dtype(tensor)], self._graph.shape(tensor)
        return helper.make_tensor_value_info(self._name(tensor), kind, shape)

    def _name(self, tensor: int) -> str:
        border = (*self._graph.inputs, *self._graph.outputs)
        return self._graph.name(tensor) if tensor in border else f"t{tensor}"

    def _input(self, tensor: int) -> str:
        name, value = self._name(tensor), self._graph.constant(tensor)
        if value is not None:
            self._constants[name] = numpy_helper.from_array(np.array(value), name)
        return name

    def _inputs(self, node: Node) -> list[str]:
        return [self._input(tensor) for tensor in node.inputs]

    def _outputs(self, node: Node) -> list[str]:
        return [self._name(tensor) for tensor in node.outputs]

    def _constant(self, name: str, values: tuple[int, ...]) -> str:
        self._constants[name] = numpy_helper.from_array(np.array(values, np.int64), name)
        return name

    def _add(self, kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        self._nodes.append(helper.make_node(kind, inputs, outputs, **attributes))

    def _plain(self, node: Node) -> None:
        fused = getattr(node.options, "fusedActivationFunction", 0)
        if fused not in (schema.ActivationFunctionType.NONE, schema.ActivationFunctionType.RELU):
            raise GraphError(f"{node} has a fused activation that cannot be translated to ONNX")
        outputs = self._outputs(node)
        if fused:
            self._add(_PLAIN[node.operator], self._inputs(node), [f"{outputs[0]}.linear"])
            self._add("Relu", [f"{outputs[0]}.linear"], outputs)
        else:
            self._add(_PLAIN[node.operator], self._inputs(node), outputs)

    def _cast(self, node: Node) -> None:
        target = _TYPES[self._graph.dtype(node.outputs[0])]
        self._add("Cast", self._inputs(node), self._outputs(node), to=target)

    def _reshape(self, node: Node) -> None:
        shape = self._constant(f"shape{node.number}", self._graph.shape(node.outputs[0]))
        self._add("Reshape", [self._input(node.inputs[0]), shape], self._outputs(node))

    def _gather(self, node: Node) -> None:
        self._add("Gather", self._inputs(node), self._outputs(node), axis=node.options.axis)

    def _split(self, node: Node) -> None:
        axis = self._graph.constant(node.inputs[0])
        assert axis is not None
        parts = self._constant(
            f"parts{node.number}", tuple(self._graph.shape(t)[int(axis)] for t in node.outputs)
        )
        self._add("Split", [self._input(node.inputs[1]), parts], self._outputs(node), axis=int(axis))

    def _resize(self, node: Node) -> None:
        if not node.options.halfPixelCenters:
            raise GraphError(f"{node} does not use half-pixel centers")
        source, target = self._input(node.inputs[0]), self._outputs(node)[0]
        _, height, width, channels = self._graph.shape(node.outputs[0])
        sizes = self._constant(f"sizes{node.number}", (1, channels, height, width))
        self._add("Transpose", [source], [f"{target}.planes"], perm=[0, 3, 1, 2])
        self._add("Resize", [f"{target}.planes", "", "", sizes], [f"{target}.large"], mode="linear")
        self._add("Transpose", [f"{target}.large"], [target], perm=[0, 2, 3, 1])
