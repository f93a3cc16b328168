"""Split photos into a training spool for edges and a hold-out set for evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from benchmarks.data import footage
from device_runtime.media.photo import read_photo
from fl import gate, local_training
from mvstylizer.errors import MVStylizerError
from training.photos import PhotoFolder

SPOOL: Final = "spool"
HOLDOUT: Final = "holdout"
_EVERY: Final = 5  # neighboring frames of a clip are nearly identical
_QUALITY: Final = 95


class RetrainingPhotosError(MVStylizerError):
    """There are too few photos to hold some out."""


def lay_out(folder: Path, photos: Path | None, *, short_side: int, contents: int, styles: int) -> int:
    """Write resized copies of photos to ``spool/`` and ``holdout/``.

    Args:
        folder: Output folder.
        photos: Folder of photos; None uses frames of the sample clips.
        short_side: Short side of the copies in pixels, small so that reading is faster than training.
        contents: Number of held-out contents.
        styles: Number of held-out styles.

    Returns:
        Number of photos in the spool.

    Raises:
        PhotoFolderError: The folder is missing or empty.
        RetrainingPhotosError: There are fewer than four times as many photos as are held out.
    """
    found: Sequence[Path | footage.Picture] = (
        _clip_frames() if photos is None else PhotoFolder(photos, short_side).paths
    )
    held = contents + styles
    if len(found) < 4 * held:
        raise RetrainingPhotosError(
            f"{len(found)} photos are too few to hold out {held}",
            "Pass a larger folder with --photos",
        )
    spool, holdout = folder / SPOOL, folder / HOLDOUT
    targets = [[spool / local_training.FRAMES, spool / local_training.STYLES] for _ in found]
    for number, place in enumerate(np.linspace(0, len(found) - 1, held).round().astype(int)):
        # Every (held / styles)-th is a style, so both kinds are spread over the folder.
        is_style = number * styles // held < (number + 1) * styles // held
        targets[place] = [holdout / (gate.STYLES if is_style else gate.CONTENTS)]
    for number, (photo, folders) in enumerate(zip(found, targets, strict=True)):
        for target in folders:
            _write(target / f"{number:05d}.jpg", photo, short_side)
    return len(found) - held


def _clip_frames() -> list[footage.Picture]:
    return [frame for name in footage.CLIPS for frame in footage.frames(footage.clip(name))[::_EVERY]]


def _write(path: Path, photo: Path | footage.Picture, short_side: int) -> None:
    picture = read_photo(photo) if isinstance(photo, Path) else photo
    scale = short_side / min(picture.shape[:2])
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    path.parent.mkdir(parents=True, exist_ok=True)
    reduced = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)[..., ::-1]
    cv2.imwrite(str(path), reduced, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
