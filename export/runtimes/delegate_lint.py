"""Names, without running a TFLite file, what a delegate would not take of it, or take and compute wrong.

The operator lists are what LiteRT 2.3's delegates took when they were tried (XNNPACK and the GPU's on the
host, the Qualcomm plugin compiling for SM8650). They say what is known to work, so an operator that is
missing here may still run; `tf.lite.experimental.Analyzer` answers "compatible" for graphs that no delegate
takes.

    operator         the delegate leaves the operator to the CPU
    dynamic-shape    the delegate wants static shapes
    int64            64-bit tensors
    rank-2           an operation broadcasts a constant over rows of a rank-2 tensor: the GPU's reads it wrong
    fp16-coordinate  a float that becomes an index holds absolute coordinates: float16 rounds them by pixels
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

import numpy as np

from export.runtimes.tflite_graph import Graph, Node

Delegate = Literal["XNNPACK", "GPU", "HTP"]
DELEGATES: Final[tuple[Delegate, ...]] = ("XNNPACK", "GPU", "HTP")
Code = Literal["operator", "dynamic-shape", "int64", "rank-2", "fp16-coordinate"]

_ARITHMETIC = {
    "ABS", "ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "DEQUANTIZE", "DIV",
    "EXP", "FLOOR", "FULLY_CONNECTED", "HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "MAXIMUM", "MAX_POOL_2D",
    "MEAN", "MINIMUM", "MUL", "NEG", "PAD", "PRELU", "QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1", "RESHAPE",
    "RESIZE_BILINEAR", "RSQRT", "SLICE", "SOFTMAX", "SPLIT", "SQRT", "SQUARE", "SQUARED_DIFFERENCE",
    "STRIDED_SLICE", "SUB", "SUM", "TANH", "TRANSPOSE", "TRANSPOSE_CONV",
}  # fmt: skip
_OPERATORS: Final[dict[Delegate, set[str]]] = {
    "XNNPACK": _ARITHMETIC | {"BATCH_MATMUL", "DEPTH_TO_SPACE", "EXPAND_DIMS", "LOG", "RELU_0_TO_1"},
    "GPU": _ARITHMETIC | {"CAST", "GATHER", "RELU_0_TO_1", "Resampler", "RESIZE_NEAREST_NEIGHBOR"},
    "HTP": _ARITHMETIC | {"BATCH_MATMUL", "CAST", "EXPAND_DIMS", "GATHER", "PACK", "RESIZE_NEAREST_NEIGHBOR"},
}
_STATIC: Final[tuple[Delegate, ...]] = ("GPU", "HTP")
_HALF: Final[tuple[Delegate, ...]] = ("GPU", "HTP")  # they compute float graphs in float16 by default
_INDEXED = {"GATHER": 1, "GATHER_ND": 1, "EMBEDDING_LOOKUP": 0}  # which of their inputs is the index
_BROADCASTING = {"ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM"}
# From here on float16 is coarser than 1/16 of a pixel.
_COARSE = 64.0


class DelegateFinding(NamedTuple):
    """One thing that keeps a delegate from running a file whole, or right.

    Attributes:
        delegate: Whose.
        code: See the module's list.
        where: Operator and tensor.
    """

    delegate: Delegate
    code: Code
    where: str

    def __str__(self) -> str:
        return f"{self.delegate}: {self.code} at {self.where}"


def takes(content: bytes) -> dict[str, list[str]]:
    """Return what each delegate would not take, by delegate, for the manifest; an empty list: all is well."""
    found = lint(content)
    return {
        delegate: [f"{finding.code} at {finding.where}" for finding in found if finding.delegate == delegate]
        for delegate in DELEGATES
    }


def lint(content: bytes) -> list[DelegateFinding]:
    """Return the findings of a TFLite file, in order of the graph, each once.

    Raises:
        GraphError: It is no TFLite file.
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
        # QNN gathers quantized bytes only, and a table without a scale is not quantized.
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
    """Yield float operations above an index that add or scale by more than float16 can hold finely.

    Clamping is no such operation: it keeps a small value small.
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
            if any(v is not None and np.abs(v).max() >= _COARSE for v in values):
                yield node
        waiting += [other for other in node.inputs if other >= 0]
