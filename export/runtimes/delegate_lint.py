"""Find what a delegate would reject in a TFLite file, or accept and compute wrong, without running it.

The operator lists are what LiteRT 2.3's delegates accepted in trials (XNNPACK and the GPU's on the host, the
Qualcomm plugin compiling for SM8650). An operator that is missing here may still run.
`tf.lite.experimental.Analyzer` reports "compatible" for graphs that no delegate accepts.

    operator         the delegate leaves the operator to the CPU
    dynamic-shape    the delegate needs static shapes
    int64            64-bit tensors
    rank-2           a constant is broadcast over rows of a rank-2 tensor, which the GPU delegate reads wrong
    fp16-coordinate  an index is computed from absolute float coordinates, which float16 rounds by pixels
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

import numpy as np

from export.runtimes.tflite_graph import Graph, Node

Delegate = Literal["XNNPACK", "GPU", "HTP"]
DELEGATES: Final[tuple[Delegate, ...]] = ("XNNPACK", "GPU", "HTP")
Code = Literal["operator", "dynamic-shape", "int64", "rank-2", "fp16-coordinate"]

_BINARY = {"ADD", "DIV", "MAXIMUM", "MINIMUM", "MUL", "SQUARED_DIFFERENCE", "SUB"}
_UNARY = {"ABS", "DEQUANTIZE", "EXP", "FLOOR", "NEG", "QUANTIZE", "RSQRT", "SQRT", "SQUARE"}
_ACTIVATIONS = {"HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "PRELU", "RELU", "RELU6", "RELU_N1_TO_1", "SOFTMAX"}
_POOLS = {"AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN", "SUM"}
_PRODUCTS = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"}
_MOVES = {"CONCATENATION", "PAD", "RESHAPE", "RESIZE_BILINEAR", "SLICE", "SPLIT", "STRIDED_SLICE"}
_COMMON = _BINARY | _UNARY | _ACTIVATIONS | {"TANH", "TRANSPOSE"} | _POOLS | _PRODUCTS | _MOVES
_OPERATORS: Final[dict[Delegate, set[str]]] = {
    "XNNPACK": _COMMON | {"BATCH_MATMUL", "DEPTH_TO_SPACE", "EXPAND_DIMS", "LOG", "RELU_0_TO_1"},
    "GPU": _COMMON | {"CAST", "GATHER", "RELU_0_TO_1", "Resampler", "RESIZE_NEAREST_NEIGHBOR"},
    "HTP": _COMMON | {"BATCH_MATMUL", "CAST", "EXPAND_DIMS", "GATHER", "PACK", "RESIZE_NEAREST_NEIGHBOR"},
}
_STATIC: Final[tuple[Delegate, ...]] = ("GPU", "HTP")
_HALF: Final[tuple[Delegate, ...]] = ("GPU", "HTP")  # compute float graphs in float16 by default
_INDEXED = {"GATHER": 1, "GATHER_ND": 1, "EMBEDDING_LOOKUP": 0}  # operator → which input is the index
_BROADCASTING = {"ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM"}
_MIN_COARSE = 64.0  # from here on, float16 is coarser than 1/16 of a pixel


class DelegateFinding(NamedTuple):
    """One obstacle to a delegate running the whole file correctly.

    Attributes:
        delegate: The delegate.
        code: See the module's list.
        where: Operator and tensor.
    """

    delegate: Delegate
    code: Code
    where: str

    def __str__(self) -> str:
        return f"{self.delegate}: {self.code} at {self.where}"


def rejections(content: bytes) -> dict[str, list[str]]:
    """Return the findings of each delegate, for the manifest; an empty list means that it takes the file."""
    found = lint(content)
    return {
        delegate: [f"{finding.code} at {finding.where}" for finding in found if finding.delegate == delegate]
        for delegate in DELEGATES
    }


def lint(content: bytes) -> list[DelegateFinding]:
    """Return the findings of a TFLite file, in order of the graph, each once.

    Raises:
        GraphError: It is not a TFLite file.
    """
    graph = Graph(content)
    found = [
        finding
        for check in (_operators, _dynamic_shapes, _int64, _rank_2, _coordinates)
        for finding in check(graph)
    ]
    return list(dict.fromkeys(found))


def _operators(graph: Graph) -> Iterator[DelegateFinding]:
    for node in graph.nodes:
        for delegate in DELEGATES:
            if node.operator not in _OPERATORS[delegate]:
                yield DelegateFinding(delegate, "operator", str(node))
        # QNN gathers quantized bytes only; a table without a scale is not quantized.
        table = node.inputs[0]
        if node.operator == "GATHER" and graph.dtype(table) == "uint8" and not graph.quantized(table):
            yield DelegateFinding("HTP", "operator", f"{node} of unquantized uint8")


def _dynamic_shapes(graph: Graph) -> Iterator[DelegateFinding]:
    for tensor in (*graph.inputs, *graph.outputs):
        if -1 in graph.signature(tensor):
            for delegate in _STATIC:
                yield DelegateFinding(delegate, "dynamic-shape", graph.name(tensor))


def _int64(graph: Graph) -> Iterator[DelegateFinding]:
    for node in graph.nodes:
        for tensor in (*node.inputs, *node.outputs):
            if tensor >= 0 and graph.dtype(tensor) == "int64":
                for delegate in DELEGATES:
                    yield DelegateFinding(delegate, "int64", f"{node}, tensor {graph.name(tensor)}")


def _rank_2(graph: Graph) -> Iterator[DelegateFinding]:
    for node in graph.nodes:
        if node.operator not in _BROADCASTING:
            continue
        shapes = [graph.shape(tensor) for tensor in node.inputs]
        for tensor, shape in zip(node.inputs, shapes, strict=True):
            if (
                len(shape) == 2
                and shape[0] > 1
                and len(set(shapes)) > 1
                and graph.constant(tensor) is not None
            ):
                yield DelegateFinding("GPU", "rank-2", f"{node}, constant {graph.name(tensor)} {shape}")


def _coordinates(graph: Graph) -> Iterator[DelegateFinding]:
    for node in graph.nodes:
        if node.operator == "Resampler" and max(graph.shape(node.inputs[0])[1:3]) > 256:
            yield DelegateFinding("GPU", "fp16-coordinate", f"{node} reads absolute coordinates beyond 256")
        if node.operator in _INDEXED:
            for culprit in _absolute(graph, node.inputs[_INDEXED[node.operator]]):
                for delegate in _HALF:
                    yield DelegateFinding(
                        delegate, "fp16-coordinate", f"{culprit}, which {node} takes as an index"
                    )


def _absolute(graph: Graph, index: int) -> Iterator[Node]:
    """Yield float operations that lead to an index and add or scale by a number too large for float16.

    Clamping does not count: it keeps small values small.
    """
    waiting, seen = [index], set()
    while waiting:
        tensor = waiting.pop()
        node = graph.producer(tensor)
        if node is None or tensor in seen:
            continue
        seen.add(tensor)
        if node.operator in ("ADD", "SUB", "MUL", "DIV") and graph.dtype(tensor) == "float32":
            values = [graph.constant(other) for other in node.inputs]
            if any(v is not None and np.abs(v).max() >= _MIN_COARSE for v in values):
                yield node
        waiting += [other for other in node.inputs if other >= 0]
