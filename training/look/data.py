"""Photos as thumbnails, grading LUTs, and the hold-outs of both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from training.look.network import THUMBNAIL
from training.photos import PhotoFolderError

STORED = 112  # pixels along each side of a stored thumbnail, from which crops of THUMBNAIL are drawn
HELD_OUT_PHOTO = 20  # every 20th photo is held out
HELD_OUT_LUT = 5  # every fifth LUT is held out
Pixels = np.ndarray[Any, np.dtype[Any]]  # H×W×3, as OpenCV holds it
SUFFIXES = {".jpg", ".jpeg", ".png"}


@dataclass(frozen=True)
class Split:
    """What to train on and what to test on; LUTs are N×3×S×S×S."""

    train_photos: list[Path]
    test_photos: list[Path]
    train_luts: Tensor
    test_luts: Tensor


def split(photos: Path, luts: Path) -> Split:
    """Hold out every 20th photo of a folder, in order of name, and every fifth LUT of a file."""
    paths = sorted(path for path in photos.iterdir() if path.suffix.lower() in SUFFIXES)
    tables = load_luts(luts)
    held_out = torch.arange(len(tables)) % HELD_OUT_LUT == 2
    return Split(
        train_photos=[path for index, path in enumerate(paths) if index % HELD_OUT_PHOTO],
        test_photos=paths[::HELD_OUT_PHOTO],
        train_luts=tables[~held_out],
        test_luts=tables[held_out],
    )


def load_luts(path: Path) -> Tensor:
    """Load LUTs from an ``.npz`` file whose ``luts`` is N×S×S×S×3, indexed (blue, green, red)."""
    with np.load(path) as stored:
        luts = stored["luts"].astype(np.float32)
    return torch.from_numpy(luts).permute(0, 4, 1, 2, 3).contiguous().clamp(0, 1)


def load_photo(path: Path, long_side: int | None = None) -> Tensor:
    """Load a photo as 1×3×H×W sRGB in [0, 1], shrunk to `long_side` pixels if it is larger."""
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError(f"{path} is not a readable image")
    scale = min(1.0, long_side / max(pixels.shape[:2])) if long_side else 1.0
    if scale < 1:
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    rgb = torch.from_numpy(np.ascontiguousarray(pixels[..., ::-1]))
    return rgb.permute(2, 0, 1).unsqueeze(0).float() / 255


def stored_thumbnails(paths: list[Path], seed: int = 0) -> Tensor:
    """Return two thumbnails of each photo, the whole and a random part of it, as uint8 2N×3×112×112.

    Raises:
        PhotoFolderError: A photo cannot be read.
    """
    rng = np.random.default_rng(seed)
    wholes, parts = [], []
    for path in paths:
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if pixels is None:
            raise PhotoFolderError(f"{path} cannot be read", "Remove it from the photos")
        height, width = pixels.shape[:2]
        h, w = (int(side * rng.uniform(0.55, 0.85)) for side in (height, width))
        top, left = int(rng.integers(height - h)), int(rng.integers(width - w))
        wholes.append(_square(pixels))
        parts.append(_square(pixels[top : top + h, left : left + w]))
    return torch.from_numpy(np.stack(wholes + parts)).permute(0, 3, 1, 2).contiguous()


def crops(thumbnails: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw random crops (count×3×96×96 in [0, 1]), mirrored or not, and the thumbnails' indices."""
    which = torch.randint(len(thumbnails), (count,), generator=generator)
    top, left = torch.randint(STORED - THUMBNAIL + 1, (2,), generator=generator).tolist()
    crop = thumbnails[which, :, top : top + THUMBNAIL, left : left + THUMBNAIL].float() / 255
    return (crop.flip(3) if torch.rand(1, generator=generator) < 0.5 else crop), which


def _square(pixels: Pixels) -> Pixels:
    return cv2.resize(pixels, (STORED, STORED), interpolation=cv2.INTER_AREA)[..., ::-1]
