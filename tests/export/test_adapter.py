"""The kit's finish around stylizers of every kind, against what each kind means."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from export.adapter import Adapter, adapted
from export.module import check_stylizer_module
from export.onnx_models.file import round_weights
from export.onnx_models.graphs import write_stylizer
from export.parity.onnx import check_stylizer
from export.parity.reference import Reference
from export.protocol import KINDS, Exportable
from training.grid import apply_grid
from training.look.lut import apply_lut, identity_lut
from training.stylizer import StylizerNetwork

CELL = 16
MATRIX = torch.tensor([[0.8, 0.1, 0.0], [0.0, 0.7, 0.2], [0.1, 0.0, 0.9]])
SHIFT = torch.tensor([0.05, 0.02, 0.0])


class Graded(nn.Module):
    """The same affine change of colors, said in each kind's way, with a code that is added to it."""

    style_code_size = 3
    network_pixels = 64 * 96
    style_pixels = 32 * 48
    cell = CELL
    bins = 4

    def __init__(self, kind: Literal["image", "affine", "grid", "lut"]) -> None:
        super().__init__()
        self.kind = kind
        self.matrix = nn.Parameter(MATRIX.clone())

    def encode_style(self, style: Tensor) -> Tensor:
        return 0.1 * style.mean((2, 3))

    def predict(self, content: Tensor, code: Tensor) -> Tensor:
        shift = SHIFT + code
        if self.kind == "image":
            return graded(self.matrix, shift, content)
        if self.kind == "lut":
            colors = identity_lut(9).unsqueeze(0)
            return graded(self.matrix, shift, colors.flatten(3)).view_as(colors)
        rows, columns = content.shape[2] // CELL, content.shape[3] // CELL
        transform = torch.cat([self.matrix.expand(len(code), 3, 3), shift.unsqueeze(2)], dim=2)
        cells = transform.view(-1, 12, 1, 1).expand(-1, 12, rows, columns)
        return cells if self.kind == "affine" else cells.unsqueeze(1).expand(-1, self.bins, -1, -1, -1)


def graded(matrix: Tensor, shift: Tensor, colors: Tensor) -> Tensor:
    return torch.einsum("ij,njhw->nihw", matrix, colors) + shift[:, :, None, None]


@pytest.fixture
def content() -> Tensor:
    torch.manual_seed(0)
    return 0.2 + 0.6 * torch.rand(1, 3, 3 * CELL, 4 * CELL)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_becomes_a_grid_that_does_the_same(
    kind: Literal["image", "affine", "grid", "lut"], content: Tensor
) -> None:
    module = Graded(kind).eval()
    assert isinstance(module, Exportable)
    check_stylizer_module(module)
    stylizer, code = adapted(module), torch.tensor([[0.02, 0.0, 0.04]])
    with torch.no_grad():
        image, grid = stylizer.outputs(content, code)
        found = stylizer.render(content, image, grid, 1.0)
    assert grid.shape == (1, 1 if kind == "affine" else 4, 12, 3, 4)
    assert (image is not None) == (kind == "image")
    expected = graded(MATRIX, SHIFT + code, content)
    assert (apply_grid(grid, content) - expected).abs().max() < 2e-3
    assert (found - expected).abs().max() < 2e-3


def test_a_lut_with_a_curve_is_followed(content: Tensor) -> None:
    content = content.mean(1, keepdim=True).expand(-1, 3, -1, -1)  # grays, on which a grid can hold a curve

    class Curve(Graded):
        def predict(self, content: Tensor, code: Tensor) -> Tensor:
            return identity_lut(17).unsqueeze(0) ** 1.5 + 0 * code.sum()

    with torch.no_grad():
        grid = adapted(Curve("lut")).grid(content, torch.zeros(1, 3))
    expected = apply_lut(identity_lut(17).unsqueeze(0) ** 1.5, content)
    assert (apply_grid(grid, content) - expected).abs().mean() < 0.01


def test_the_row_of_the_manifest_names_the_kind() -> None:
    row = adapted(Graded("lut")).row("fp16")
    assert (row["kind"], row["match"], row["style_code"], row["bins"]) == ("lut", False, 3, 4)
    assert adapted(Graded("affine")).row("fp32")["bins"] == 1


def test_the_kits_own_network_goes_through_the_same_door() -> None:
    network = StylizerNetwork().eval()
    assert isinstance(network, Exportable)
    check_stylizer_module(network)
    stylizer = adapted(network)
    assert isinstance(stylizer, Adapter)
    assert adapted(stylizer) is stylizer
    content = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        code = stylizer.encode_style(torch.rand(1, 3, 48, 64))
        assert torch.equal(stylizer.grid(content, code), network.grid(content, code))


@pytest.mark.parametrize("kind", ["image", "affine"])
def test_graphs_compute_what_pytorch_computes(kind: Literal["image", "affine"], tmp_path: Path) -> None:
    stylizer = adapted(Graded(kind).eval())
    round_weights(stylizer)
    write_stylizer(stylizer, tmp_path / "stylizer.onnx")
    parity = check_stylizer(tmp_path / "stylizer.onnx", Reference(stylizer))
    assert parity["max"] <= 1
    assert parity["psnr"] > 60
