"""Label images of a video: one for the first frame of each shot."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from device_runtime.labels.masks import LabelImageError, MaskFiles, read_mask_files
from device_runtime.stylizers.style_mix import StylePhotos

SUFFIX: Final = ".png"


class ShotMasks:
    """The label images of a video's shots, in order.

    Args:
        path: A label image, for the first shot, or a folder of them, one per shot by name.

    Raises:
        LabelImageError: The path is missing, or a folder without a PNG.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            raise LabelImageError(f"There is no label image {path}", "Check the path")
        self._files = [path]
        if path.is_dir():
            visible = (each for each in sorted(path.iterdir()) if not each.name.startswith("."))
            self._files = [each for each in visible if each.suffix.lower() == SUFFIX]
        if not self._files:
            raise LabelImageError(f"The folder {path} has no PNG", "Add one label image per shot")
        self._shots = 0

    @property
    def first(self) -> Path:
        """The label image of the first shot."""
        return self._files[0]

    def next(self) -> Path | None:
        """Return the label image of the next shot, or None if there is none."""
        self._shots += 1
        return self._files[self._shots - 1] if self._shots <= len(self._files) else None

    @property
    def warnings(self) -> list[str]:
        """One line if the images do not fit the shots seen so far."""
        if self._shots > len(self._files):
            return [
                f"{self._path} has label images for {len(self._files)} of {self._shots} shots:"
                " the others took the whole style"
            ]
        if self._shots < len(self._files):
            return [f"{self._path} has {len(self._files)} label images, but there are {self._shots} shots"]
        return []


def check_video_masks(first: NDArray[np.uint8], style_photo: StylePhotos, masks: MaskFiles) -> None:
    """Check the label images of a video's first shot and of the style before a server is started.

    Args:
        first: The first frame, uint8 RGB (H, W, 3).
        style_photo: A single style photo.
        masks: The label images.

    Raises:
        ValueError: There are several style photos.
        PhotoError: A file cannot be read.
        LabelImageError: A label image is missing, invalid or does not fit.
    """
    read_mask_files(first, style_photo, MaskFiles(ShotMasks(masks.content).first, masks.style))
