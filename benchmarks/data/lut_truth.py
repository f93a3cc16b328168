"""Cases with exact answers: content P, style L(Q), truth L(P), for a grading LUT L and two different photos.

The protocol of PST50 (SA-LUT, ICCV 2025). Cases are made from photos and LUTs, or read from a folder of
``NN_content``, ``NN_style`` and ``NN_target`` photos.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.metrics.similarity import at_long_side
from device_runtime.media.photo import is_photo, read_photo
from mvstylizer.errors import MVStylizerError

Picture = NDArray[np.uint8]
Lut = NDArray[np.float32]

LONG_SIDE: Final = 480  # pixels
LUTS_PER_PHOTO: Final = 3
HOLD_OUT: Final = slice(2, None, 5)  # every fifth LUT is kept out of training (training/look/data.py)
SEED: Final = 7


class LutTruthError(MVStylizerError):
    """The photos, LUTs or targets cannot be used."""


@dataclass(frozen=True)
class TruthCase:
    """A content, a style and the true answer, uint8 RGB; the answer has the content's size."""

    name: str
    content: Picture
    style: Picture
    target: Picture


def load_luts(path: Path) -> Lut:
    """Load grading LUTs from an ``.npz``: ``luts``, (N, S, S, S, 3), indexed blue, green, red; RGB out.

    Raises:
        LutTruthError: The file is missing, or not such an archive.
    """
    try:
        with np.load(path) as stored:
            luts = stored["luts"].astype(np.float32)
    except (OSError, KeyError, ValueError) as err:
        raise LutTruthError(
            f"{path} cannot be read as LUTs ({err})", "Give an .npz with an array 'luts'"
        ) from err
    if luts.ndim != 5 or luts.shape[-1] != 3 or len(set(luts.shape[1:4])) != 1:
        raise LutTruthError(f"{path}: LUTs of shape {luts.shape}", "Expected (N, S, S, S, 3)")
    return np.asarray(luts, np.float32)


def apply_lut(lut: Lut, picture: Picture) -> Picture:
    """Map a picture through a LUT (S, S, S, 3), trilinearly."""
    side = lut.shape[0]
    at = picture[..., ::-1].astype(np.float32) / 255 * (side - 1)  # blue, green, red
    base = np.clip(at.astype(np.int64), 0, side - 2)
    part = at - base
    out = np.zeros(picture.shape, np.float32)
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, part, 1 - part), axis=-1)
        cell = base + corner
        out += weight[..., None] * lut[cell[..., 0], cell[..., 1], cell[..., 2]]
    return np.asarray(np.rint(np.clip(out, 0, 1) * 255), np.uint8)


def lut_cases(photos: Path, luts: Lut, count: int) -> Iterator[TruthCase]:
    """Make cases, the same ones in every call: each photo under up to three LUTs, with another photo's style.

    Args:
        photos: Folder of photos, at any depth.
        luts: LUTs to draw from in turn; pass the held-out ones.
        count: Cases to make.

    Raises:
        LutTruthError: The folder holds fewer than two photos.
    """
    paths = [path for path in sorted(photos.rglob("*")) if is_photo(path)]
    if len(paths) < 2:
        raise LutTruthError(f"{photos} holds {len(paths)} photos", "At least two are needed")
    paths = paths[:: max(1, len(paths) * LUTS_PER_PHOTO // count)]
    rng = np.random.default_rng(SEED)
    for number in range(count):
        own = (number // LUTS_PER_PHOTO) % len(paths)
        other = (own + 1 + int(rng.integers(len(paths) - 1))) % len(paths)
        lut = luts[number % len(luts)]
        content, second = (at_long_side(read_photo(paths[i]), LONG_SIDE) for i in (own, other))
        yield TruthCase(f"{number:02d}", content, apply_lut(lut, second), apply_lut(lut, content))


def read_cases(folder: Path) -> Iterator[TruthCase]:
    """Read the cases of a folder, for the owners of PST50 or a set like it.

    Raises:
        LutTruthError: The folder holds no case, or a target is not of its content's size.
    """
    names = sorted(p.stem.removesuffix("_target") for p in folder.glob("*_target.*"))
    if not names:
        raise LutTruthError(
            f"{folder} holds no targets", "It needs NN_content, NN_style and NN_target photos"
        )
    for name in names:
        content, style, target = (_part(folder, name, part) for part in ("content", "style", "target"))
        if content.shape != target.shape:
            raise LutTruthError(f"{name}_target is not of its content's size", "Resize one of the two")
        yield TruthCase(name, content, style, target)


def _part(folder: Path, name: str, part: str) -> Picture:
    found = next(folder.glob(f"{name}_{part}.*"), None)
    if found is None:
        raise LutTruthError(f"{folder} holds no {name}_{part} photo", "Each case needs three photos")
    return read_photo(found)


def held_out(luts: Lut) -> Lut:
    """Return the LUTs that training keeps out."""
    return luts[HOLD_OUT]
