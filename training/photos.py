"""A folder of photos as training data, with or without subfolders (such as MS-COCO's train2017/*.jpg).

Crops are drawn by (seed, step), not by a running generator: an interrupted run draws the same batches.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mvstylizer.errors import MVStylizerError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
MIN_SIDE = 64  # pixels of the short side; smaller images are icons, not photos


class PhotoFolderError(MVStylizerError):
    """The photo folder is missing, or contains too few readable photos."""


class PhotoFolder:
    """Square crops of random photos.

    Args:
        folder: Folder of photos, at any depth.
        crop: Side of a crop in pixels.
        min_photos: Photos that the folder must contain: two for pairs, one for a folder of styles.

    Raises:
        PhotoFolderError: The folder is missing or has fewer photos.
    """

    def __init__(self, folder: Path, crop: int, *, min_photos: int = 2) -> None:
        if not folder.is_dir():
            raise PhotoFolderError(f"{folder} is not a folder", "Name a folder of photos with --photos")
        self.paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
        if len(self.paths) < min_photos:
            raise PhotoFolderError(
                f"{folder} has only {len(self.paths)} photos ({', '.join(sorted(SUFFIXES))})",
                f"Add photos: at least {min_photos}, better a few hundred",
            )
        self.crop = crop
        self.broken: set[Path] = set()  # unreadable or too small; skipped

    def batch(self, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return two random crops of each of `count` random photos, count×3×crop×crop RGB in [0, 1] each."""
        pairs = [self._crops(rng) for _ in range(count)]
        first, second = (np.stack(side).transpose(0, 3, 1, 2) for side in zip(*pairs, strict=True))
        return torch.from_numpy(first / np.float32(255)), torch.from_numpy(second / np.float32(255))

    def _crops(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        for _ in range(100):
            path = self.paths[rng.integers(len(self.paths))]
            photo = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if photo is not None and min(photo.shape[:2]) >= MIN_SIDE:
                rgb = photo[..., ::-1].astype(np.uint8, copy=False)
                return self._crop(rgb, rng), self._crop(rgb, rng)
            self.broken.add(path)
        raise PhotoFolderError("100 photos in a row could not be read", "Check the files in --photos")

    def _crop(self, photo: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        height, width = photo.shape[:2]
        short = min(height, width)
        # From a detail to the whole photo, so that skies and leaves appear at many sizes.
        side = int(rng.integers(min(short, self.crop), short + 1))
        top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
        cut = photo[top : top + side, left : left + side]
        if rng.random() < 0.5:
            cut = cut[:, ::-1]
        size = (self.crop, self.crop)
        resized = cv2.resize(np.ascontiguousarray(cut), size, interpolation=cv2.INTER_AREA)
        return resized.astype(np.uint8, copy=False)
