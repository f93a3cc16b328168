"""The exported graphs: inputs and outputs, parity with PyTorch, and detection of wrong files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from export.errors import GraphError
from export.onnx_models.contract import ROLES, contract
from export.onnx_models.file import check_graph
from export.onnx_models.graph_text import IR_VERSION, OPSET
from export.onnx_models.graphs import write_style_encoder
from export.parity.onnx import (
    check_style_encoder,
    check_stylizer,
    check_stylizer_map,
    session_of,
)
from export.parity.reference import Reference
from export.parity.test_images import parity_picture
from export.runtimes.difference import ParityError
from tests.export.conftest import DIMS, RIDGE
from training.checkpoint import load_checkpoint
from training.look.checkpoint import LOOK_WEIGHTS, load_look
from training.options import StylizerDims
from training.stylizer import StylizerNetwork


@pytest.fixture(scope="module")
def stylizer(checkpoint: Path) -> StylizerNetwork:
    made, _ = load_checkpoint(checkpoint)
    made.dims = replace(made.dims, ridge=RIDGE)
    return made


@pytest.fixture(scope="module")
def reference(stylizer: StylizerNetwork) -> Reference:
    return Reference(stylizer)


@pytest.fixture(scope="module")
def folder(exported: Path) -> Path:
    return exported


@pytest.mark.slow
def test_parity_with_pytorch(folder: Path, reference: Reference) -> None:
    assert check_style_encoder(folder / "style_encoder.onnx", reference)["max"] < 1e-3
    parity = check_stylizer(folder / "stylizer.onnx", reference)
    assert parity["max"] <= 1
    assert parity["mean"] < 0.05
    assert parity["p999"] <= parity["max"]
    assert parity["psnr"] > 60
    assert check_stylizer_map(folder / "stylizer_map.onnx", reference)["max"] < 2e-3


def test_the_file_of_another_network_is_detected(folder: Path) -> None:
    torch.manual_seed(1)
    other = StylizerNetwork(DIMS).eval()
    other.heads.network.load_state_dict(load_look(LOOK_WEIGHTS).state_dict())
    assert other.local is not None
    torch.nn.init.constant_(other.local.decoder.rgb.bias, 0.05)
    with pytest.raises(ParityError, match="gray levels"):
        check_stylizer(folder / "stylizer.onnx", Reference(other))


@pytest.mark.parametrize("role", ROLES)
def test_inputs_and_outputs_are_those_of_the_contract(folder: Path, role: str) -> None:
    session = session_of(folder / f"{role}.onnx")
    kinds = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}
    expected = contract(role, StylizerNetwork().style_code_size, StylizerDims().bins)
    for rows, declared in zip((session.get_inputs(), session.get_outputs()), expected, strict=True):
        found = [
            (v.name, kinds[v.type], tuple(d if isinstance(d, int) else -1 for d in v.shape)) for v in rows
        ]
        assert found == [(spec.name, spec.dtype, spec.shape) for spec in declared]


@pytest.mark.parametrize("role", ROLES)
def test_the_file_has_standard_operators_and_no_leftovers(folder: Path, role: str) -> None:
    model = onnx.load(folder / f"{role}.onnx")
    assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)]
    assert model.ir_version == IR_VERSION
    assert not model.functions
    used = {name for node in model.graph.node for name in node.input}
    assert {i.name for i in model.graph.initializer} <= used
    halves = [i for i in model.graph.initializer if i.data_type == onnx.TensorProto.FLOAT16]
    assert sum(np.prod(i.dims) for i in halves) > 500_000  # the encoder's weights at least
    text = (folder / f"{role}.onnx").read_bytes()
    assert b".py" not in text  # no stack traces of the machine that exported it


def test_r_is_an_input(folder: Path) -> None:
    session = session_of(folder / "stylizer.onnx")
    frame, code = (
        parity_picture(60, 90, 0)[None],
        np.zeros((1, StylizerNetwork().style_code_size), np.float32),
    )
    sizes = [
        session.run(["stylized"], {"frame": frame, "style_code": code, "r": np.array([r], np.float32)})[
            0
        ].shape
        for r in (0.5, 1.0, 1.9)
    ]
    assert sizes == [(1, 30, 45, 3), (1, 60, 90, 3), (1, 114, 171, 3)]


def test_an_unused_initializer_is_refused(folder: Path) -> None:
    model = onnx.load(folder / "stylizer_map.onnx")
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(3, np.float32), "left_over"))
    with pytest.raises(GraphError, match="left_over"):
        check_graph(model, "stylizer_map.onnx")


def test_single_precision_is_twice_the_size_and_more_accurate(
    folder: Path, stylizer: StylizerNetwork, reference: Reference, tmp_path: Path
) -> None:
    single, half = tmp_path / "style_encoder.onnx", folder / "style_encoder.onnx"
    write_style_encoder(stylizer, single, "fp32")
    assert 1.9 < single.stat().st_size / half.stat().st_size < 2.1
    assert check_style_encoder(single, reference)["max"] < check_style_encoder(half, reference)["max"]
