"""A small stylizer, exported once per test run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from export.exporter import export_bundle
from mvstylizer.bundle import MANIFEST_NAME
from tests.once import once
from training.checkpoint import save_checkpoint
from training.look.checkpoint import LOOK_WEIGHTS, load_look
from training.options import StylizerDims
from training.stylizer import StylizerNetwork

SIZE = (64, 48)
RIDGE = 0.25
# The shipped architecture on small pictures: tracing, comparing and timing take a fraction of the time.
DIMS = StylizerDims(network_pixels=96 * 128, style_pixels=48 * 64)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(folder: Path) -> None:
        torch.manual_seed(0)
        stylizer = StylizerNetwork(DIMS)
        stylizer.heads.network.load_state_dict(load_look(LOOK_WEIGHTS).state_dict())
        assert stylizer.local is not None
        torch.nn.init.normal_(stylizer.local.decoder.rgb.weight, std=0.003)
        save_checkpoint(folder / "small.safetensors", stylizer, 12, {})

    return once("small_checkpoint", tmp_path_factory, make) / "small.safetensors"


@pytest.fixture(scope="session")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, exported over an older one; tests copy it before they change it."""

    def make(folder: Path) -> None:
        out = folder / "exported" / "bundle"
        out.mkdir(parents=True)
        (out / MANIFEST_NAME).write_text("{}")
        (out / "old.onnx").write_bytes(b"of the release before")
        lines: list[str] = []
        export_bundle(checkpoint, out, version=4, ridge=RIDGE, sizes=[SIZE], report=lines.append)
        (folder / "lines.txt").write_text("\n".join(lines))

    return once("small_export", tmp_path_factory, make) / "exported" / "bundle"


@pytest.fixture(scope="session")
def export_lines(exported: Path) -> list[str]:
    return (exported.parents[1] / "lines.txt").read_text().splitlines()
