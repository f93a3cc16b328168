"""An untrained stylizer as a checkpoint, and spools of photos from scikit-image."""

from __future__ import annotations

from pathlib import Path

import pytest
import skimage.data
import torch
from flwr.supercore.task_identity import TaskIdentity
from PIL import Image

from training.checkpoint import save_checkpoint
from training.config import StepConfig
from training.stylizer import StylizerNetwork

PHOTOS = ("astronaut", "coffee", "chelsea", "rocket")
FAST = StepConfig(batch=2, crop=32)


def fill(folder: Path, names: tuple[str, ...]) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        Image.fromarray(getattr(skimage.data, name)()[::3, ::3]).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("cloud") / "start.safetensors"
    save_checkpoint(path, StylizerNetwork(), 12, {})
    return path


@pytest.fixture(scope="session")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("edge")
    fill(folder / "frames", ("coffee", "chelsea", "rocket"))
    fill(folder / "styles", ("astronaut",))
    return folder


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the identity that Flower's processes have before they load an app."""
    for field in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, field, 1)
