"""Photos laid out as a federation wants them: an edge's spool, and a hold-out set that no edge sees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from benchmarks.data import footage
from device_runtime.media.photo import read_photo
from fl import gate, site
from mvstylizer.errors import MVStylizerError
from training.photos import PhotoFolder

SPOOL: Final = "spool"
HOLDOUT: Final = "holdout"
_EVERY: Final = 5  # neighbouring frames of a clip are all but equal
_QUALITY: Final = 95


class RetrainingPhotosError(MVStylizerError):
    """There are too few photos to hold some out."""


def lay_out(folder: Path, photos: Path | None, *, short_side: int, contents: int, styles: int) -> int:
    """Write reduced copies of photos as ``spool/`` and ``holdout/``.

    Args:
        folder: Where the two are made.
        photos: Folder of photos; None takes frames of the sample clips.
        short_side: Of the copies, in pixels: reading a photo should not take longer than training on it.
        contents: Photos held out as contents.
        styles: Photos held out as styles.

    Returns:
        Photos in the spool.

    Raises:
        PhotoFolderError: No such folder, or an empty one.
        RetrainingPhotosError: Fewer photos than four times those held out.
    """
    found: Sequence[Path | footage.Picture] = (
        _clip_frames() if photos is None else PhotoFolder(photos, short_side).paths
    )
    held = contents + styles
    if len(found) < 4 * held:
        raise RetrainingPhotosError(
            f"{len(found)} photos are too few to hold {held} of them out",
            "Name a larger folder with --photos",
        )
    spool, holdout = folder / SPOOL, folder / HOLDOUT
    targets = [[spool / site.FRAMES, spool / site.STYLES] for _ in found]
    for number, place in enumerate(np.linspace(0, len(found) - 1, held).round().astype(int)):
        # Every (held / styles)-th is a style: both kinds are spread over the folder.
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
