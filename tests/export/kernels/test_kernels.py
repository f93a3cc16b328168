from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from export.kernels.convert import KernelBuildError, convert, operators, tensorflow
from export.parity.kernels import KERNELS
from export.runtimes.cpu import CPU_LANES
from export.tflite_file import unpack
from mvstylizer.bundle import TensorSpec


@pytest.fixture(scope="module")
def files() -> Mapping[str, bytes]:
    return {role: kernel.build() for role, kernel in KERNELS.items()}


@pytest.mark.parametrize("role", KERNELS)
def test_tensors_are_those_of_the_specs(files: Mapping[str, bytes], role: str) -> None:
    interpreter = Interpreter(model_content=files[role])
    for specs, details in (
        (KERNELS[role].inputs, interpreter.get_input_details()),
        (KERNELS[role].outputs, interpreter.get_output_details()),
    ):
        found = {d["name"]: (d["dtype"], tuple(d["shape_signature"])) for d in details}
        assert found == {s.name: (np.dtype(s.dtype).type, s.shape) for s in specs}
    assert [d["name"] for d in interpreter.get_output_details()] == [s.name for s in KERNELS[role].outputs]


@pytest.mark.parametrize("role", KERNELS)
def test_builds_are_deterministic(files: Mapping[str, bytes], role: str) -> None:
    assert KERNELS[role].build() == files[role]


def test_operators_are_few_and_no_cast_is_left_at_the_uint8_borders(files: Mapping[str, bytes]) -> None:
    warp, transfer = operators(files["warp"]), operators(files["transfer"])
    assert warp["EMBEDDING_LOOKUP"] == 1
    assert "GATHER" not in warp
    assert warp["CAST"] == 1  # of the flow's step, to int32
    assert warp.total() <= 43
    assert not transfer.keys() & {"CAST", "GATHER", "RESIZE_BILINEAR", "TRANSPOSE"}
    assert transfer["DEQUANTIZE"] == 3  # a plane each, after the split
    assert transfer["BATCH_MATMUL"] == 5  # of all bins and outputs
    assert transfer.total() <= 36
    assert {"DEQUANTIZE", "QUANTIZE"} <= warp.keys() & transfer.keys()


@pytest.mark.parametrize(("role", "most"), [("warp", 10_000), ("transfer", 10_000), ("key_frame", 130_000)])
def test_no_frame_size_is_baked_in(files: Mapping[str, bytes], role: str, most: int) -> None:
    assert len(files[role]) < most


@pytest.mark.parametrize("role", ["warp", "transfer"])
def test_xnnpack_stays_after_every_resize(files: Mapping[str, bytes], role: str) -> None:
    interpreter = Interpreter(model_content=files[role])
    for dynamic in (4, 9):
        for tensor in interpreter.get_input_details():
            signature = tensor["shape_signature"]
            length = dynamic**2 if len(signature) == 1 else dynamic  # `offset` counts the strip's pixels
            shape = [length if n < 0 else n for n in signature]
            if tensor["name"] == "cells":
                shape[0] = 4 * dynamic  # a coefficient of each plane and of 1, for each output
            interpreter.resize_tensor_input(tensor["index"], shape)
        interpreter.allocate_tensors()
        assert "DELEGATE" in {op["op_name"] for op in interpreter._get_ops_details()}


@pytest.mark.parametrize("role", KERNELS)
def test_generic_tools_run_the_file_as_it_is(files: Mapping[str, bytes], role: str) -> None:
    """No resize, and any numbers: what benchmark_model does."""
    rng = np.random.default_rng(0)
    for resolver in CPU_LANES.values():
        interpreter = Interpreter(model_content=files[role], experimental_op_resolver_type=resolver)
        interpreter.allocate_tensors()
        for tensor in interpreter.get_input_details():
            interpreter.set_tensor(tensor["index"], _anything(rng, tensor))
        interpreter.invoke()
    pixels = {int(np.prod(d["shape"])) for d in interpreter.get_output_details()}
    assert pixels == ({1, 3} if role == "key_frame" else {3 * 288 * 512})


def _anything(rng: np.random.Generator, tensor: Mapping[str, Any]) -> Any:
    if tensor["dtype"] == np.float32:
        return rng.normal(0, 1e5, tensor["shape"]).astype(np.float32)
    limits = np.iinfo(tensor["dtype"])
    return rng.integers(limits.min, limits.max, tensor["shape"], tensor["dtype"])


@pytest.mark.parametrize("role", KERNELS)
def test_there_is_one_signature_with_the_tensors_of_the_specs(files: Mapping[str, bytes], role: str) -> None:
    kernel = KERNELS[role]
    (signature,) = unpack(files[role]).signatureDefs
    assert signature.signatureKey == role.encode()
    for entries, specs in ((signature.inputs, kernel.inputs), (signature.outputs, kernel.outputs)):
        assert [entry.name.decode() for entry in entries] == [spec.name for spec in specs]
    graph = unpack(files[role]).subgraphs[0]
    assert [e.tensorIndex for e in signature.outputs] == list(graph.outputs)
    assert {e.tensorIndex for e in signature.inputs} == set(graph.inputs)


def test_64_bit_tensors_are_refused() -> None:
    tf = tensorflow()

    def needs_int64(x: Any) -> Any:
        return tf.cast(x, tf.int64)

    with pytest.raises(KernelBuildError, match="int64"):
        convert(needs_int64, (TensorSpec("x", "float32", (4,)),), (TensorSpec("y", "int64", (4,)),))


def test_operators_that_only_tensorflow_has_are_refused() -> None:
    tf = tensorflow()

    def needs_flex(x: Any) -> Any:
        return tf.linalg.inv(x)

    with pytest.raises(KernelBuildError, match="MatrixInverse"):
        convert(needs_flex, (TensorSpec("x", "float32", (4, 4)),), (TensorSpec("y", "float32", (4, 4)),))


def test_custom_operators_are_refused(files: Mapping[str, bytes]) -> None:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(files["transfer"], 0))
    code = model.operatorCodes[0]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = "Resampler"
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    with pytest.raises(KernelBuildError, match="Resampler"):
        operators(bytes(builder.Output()))
