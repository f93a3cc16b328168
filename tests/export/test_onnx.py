"""The exported graphs: the contract, parity with PyTorch, and that a wrong file is noticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from export.bundle import ONNX_CONTRACTS
from export.kernel_parity import ParityError
from export.onnx_graphs import IR_VERSION, OPSET, write_style_encoder, write_stylizer
from export.onnx_parity import check_style_encoder, check_stylizer, parity_picture, session_of
from training.stylizer import Stylizer


@pytest.fixture(scope="module")
def stylizer() -> Stylizer:
    torch.manual_seed(0)
    made = Stylizer().eval()
    torch.nn.init.normal_(made.decoder.rgb.weight, std=0.003)
    return made


@pytest.fixture(scope="module")
def folder(stylizer: Stylizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx")
    write_style_encoder(stylizer, path / "style_encoder.onnx")
    write_stylizer(stylizer, path / "stylizer.onnx")
    return path


@pytest.mark.slow
def test_parity_with_pytorch(folder: Path, stylizer: Stylizer) -> None:
    assert check_style_encoder(folder / "style_encoder.onnx", stylizer)["max"] < 1e-3
    parity = check_stylizer(folder / "stylizer.onnx", stylizer)
    assert parity["max"] <= 1
    assert parity["psnr"] > 60


def test_another_networks_file_is_noticed(folder: Path) -> None:
    torch.manual_seed(1)
    other = Stylizer().eval()
    torch.nn.init.normal_(other.decoder.rgb.weight, std=0.003)
    with pytest.raises(ParityError, match="grey levels"):
        check_stylizer(folder / "stylizer.onnx", other)


@pytest.mark.parametrize("role", ["style_encoder", "stylizer"])
def test_the_contract_is_what_the_file_has(folder: Path, role: str) -> None:
    session = session_of(folder / f"{role}.onnx")
    kinds = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}
    for rows, declared in zip(
        (session.get_inputs(), session.get_outputs()), ONNX_CONTRACTS[role], strict=True
    ):
        found = [
            (v.name, kinds[v.type], tuple(d if isinstance(d, int) else -1 for d in v.shape)) for v in rows
        ]
        assert found == [(spec.name, spec.dtype, spec.shape) for spec in declared]


@pytest.mark.parametrize("role", ["style_encoder", "stylizer"])
def test_the_file_is_plain_and_clean(folder: Path, role: str) -> None:
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
    frame, code = parity_picture(60, 90, 0)[None], np.zeros((1, 908), np.float32)
    sizes = [
        session.run(["stylized"], {"frame": frame, "style_code": code, "r": np.array([r], np.float32)})[
            0
        ].shape
        for r in (0.5, 1.0, 1.9)
    ]
    assert sizes == [(1, 30, 45, 3), (1, 60, 90, 3), (1, 114, 171, 3)]
