"""A release of the lite model, exported once per test run."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from export.exporter import export_bundle
from export.onnx_models.weight_swap import BaseBundle
from mvstylizer.bundle import default_bundle, load_bundle
from tests.checkpoints import shipped_checkpoint
from tests.once import once
from training.checkpoint import load_checkpoint, save_checkpoint
from training.stylizer import StylizerNetwork

STEP = 901


class LiteRelease(NamedTuple):
    """A release of `changed_lite`; tests must not change the files.

    Attributes:
        checkpoint: The changed weights.
        bundle: Its bundle, version 1, with the graphs of the shipped bundle and no sized kernels.
        report: Lines that the export reported.
    """

    checkpoint: Path
    bundle: Path
    report: list[str]


def shipped_lite() -> BaseBundle:
    """Return the shipped lite bundle with its checkpoint."""
    return BaseBundle(load_bundle(default_bundle("lite")), shipped_checkpoint("lite"))


def changed_lite() -> StylizerNetwork:
    """Return the shipped lite model after a step that changes every weight."""
    torch.manual_seed(0)
    stylizer, _ = load_checkpoint(shipped_checkpoint("lite"))
    with torch.no_grad():
        for value in stylizer.state_dict().values():
            value.mul_(1 + 0.05 * torch.randn_like(value))
    return stylizer


def lite_release(factory: pytest.TempPathFactory) -> LiteRelease:
    """Return a release of `changed_lite`; the first process that needs it exports it."""

    def make(folder: Path) -> None:
        checkpoint, lines = folder / "lite.safetensors", list[str]()
        save_checkpoint(checkpoint, changed_lite(), STEP, {})
        export_bundle(
            checkpoint, folder / "bundle", sizes=(), base_bundle=shipped_lite(), report=lines.append
        )
        (folder / "report.txt").write_text("\n".join(lines))

    folder = once("lite_release", factory, make)
    lines = (folder / "report.txt").read_text().splitlines()
    return LiteRelease(folder / "lite.safetensors", folder / "bundle", lines)
