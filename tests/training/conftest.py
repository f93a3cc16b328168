"""Photos for the training tests: those of scikit-image (public domain or CC0)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from torch import Tensor


def as_tensor(picture: np.ndarray) -> Tensor:
    return torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1).unsqueeze(0)


@pytest.fixture(scope="session")
def coffee() -> Tensor:
    return as_tensor(skimage.data.coffee()[::3, ::3])


@pytest.fixture(scope="session")
def cat() -> Tensor:
    return as_tensor(skimage.data.chelsea()[::2, ::2])


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    (folder / "train2017").mkdir()  # MS-COCO's layout
    for name in ("astronaut", "coffee", "chelsea"):
        Image.fromarray(getattr(skimage.data, name)()[::2, ::2]).save(folder / "train2017" / f"{name}.png")
    (folder / "notes.txt").write_text("not a photo")
    return folder
