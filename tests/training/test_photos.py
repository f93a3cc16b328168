from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from training.photos import PhotoFolder, PhotoFolderError


def test_batches_are_crops_drawn_by_the_generator(photos: Path) -> None:
    folder = PhotoFolder(photos, 64)
    assert len(folder.paths) == 3
    first, second = folder.batch(4, np.random.default_rng(1))
    assert first.shape == second.shape == (4, 3, 64, 64)
    assert first.dtype == torch.float32
    assert 0 <= first.min() < first.max() <= 1
    assert not torch.equal(first, second)
    again, _ = folder.batch(4, np.random.default_rng(1))
    assert torch.equal(first, again)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_photos_are_refused(tmp_path: Path, photos: Path, count: int) -> None:
    for source in list(photos.rglob("*.png"))[:count]:
        (tmp_path / source.name).write_bytes(source.read_bytes())
    with pytest.raises(PhotoFolderError, match=f"has only {count} photos"):
        PhotoFolder(tmp_path, 64)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PhotoFolderError, match="is not a folder"):
        PhotoFolder(tmp_path / "nowhere", 64)


def test_a_folder_of_unreadable_photos_is_refused(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"not a jpeg")
    with pytest.raises(PhotoFolderError, match="could not be read"):
        PhotoFolder(tmp_path, 64).batch(1, np.random.default_rng(0))
