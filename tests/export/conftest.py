"""One export for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from export.exporter import export_bundle
from mvstylizer.bundle import MANIFEST_NAME
from training.checkpoint import save_checkpoint
from training.stylizer import StylizerNetwork

SIZE = (64, 48)
RIDGE = 0.25


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    stylizer = StylizerNetwork()
    torch.nn.init.normal_(stylizer.decoder.rgb.weight, std=0.003)
    path = tmp_path_factory.mktemp("run") / "small.safetensors"
    save_checkpoint(path, stylizer, 12, {})
    return path


@pytest.fixture(scope="session")
def export_lines() -> list[str]:
    return []


@pytest.fixture(scope="session")
def exported(checkpoint: Path, export_lines: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, exported over an older one; tests copy it before they change it."""
    out = tmp_path_factory.mktemp("deep") / "bundle"
    out.mkdir()
    (out / MANIFEST_NAME).write_text("{}")
    (out / "old.onnx").write_bytes(b"of the release before")
    export_bundle(checkpoint, out, version=4, ridge=RIDGE, sizes=[SIZE], report=export_lines.append)
    return out
