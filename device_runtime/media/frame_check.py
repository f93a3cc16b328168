"""Properties that belong to each frame, not to the file: color tags, transparency, captions."""

from __future__ import annotations

from typing import Final

import av
import cv2
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from device_runtime.media.color import Color

ALPHA_MODE: Final = "alpha_mode"  # tag of WebM streams whose transparency is in a second, hidden stream
OPAQUE: Final = "its transparency is lost: the result is opaque"
OPAQUE_ALPHA: Final = 255
CAPTIONS: Final = "A53_CC"


class FrameCheck:
    """Reads the color tags of each frame and notes what the result cannot have.

    Args:
        name: The file's name, for warnings.
        stream: The video stream.
        color: Color tags of the first frame.
        first: The first frame.

    Attributes:
        warnings: One line each.
    """

    def __init__(self, name: str, stream: VideoStream, color: Color, first: av.VideoFrame) -> None:
        self.warnings: list[str] = []
        self._name, self._color = name, color
        tags = {key.lower(): value for key, value in stream.metadata.items()}
        if tags.get(ALPHA_MODE) == "1":
            self._warn(OPAQUE)
        if CAPTIONS in first.side_data:
            self._warn("closed captions within the picture are omitted")
        self._warn_of_matrix(color)

    def __call__(self, frame: av.VideoFrame) -> Color:
        """Return the color tags of a frame: those of the first one if both are converted alike."""
        color = Color.of(frame)
        if (color.conversion, color.range) == (self._color.conversion, self._color.range):
            return self._color
        self._warn("its color tags change midway: each part is read by its own")
        self._warn_of_matrix(color)
        return color

    def on_black(self, rgb: NDArray[np.uint8], frame: av.VideoFrame) -> NDArray[np.uint8]:
        """Show the transparent parts of a frame as black, like players do, not the colors hidden there.

        Args:
            rgb: The frame's colors, uint8 (H, W, 3).
            frame: The frame; its transparency is resized to H × W.
        """
        if not any(component.is_alpha for component in frame.format.components):
            return rgb
        alpha = frame.reformat(rgb.shape[1], rgb.shape[0], format="rgba").to_ndarray()[..., 3:]
        if alpha.min() == OPAQUE_ALPHA:
            return rgb
        self._warn(OPAQUE)
        return np.asarray(cv2.multiply(rgb, np.repeat(alpha, 3, axis=2), scale=1 / OPAQUE_ALPHA), np.uint8)

    def _warn_of_matrix(self, color: Color) -> None:
        if not color.has_known_matrix:
            self._warn(f"color matrix {color.matrix} is not supported: colors may be wrong")

    def _warn(self, what: str) -> None:
        line = f"{self._name}: {what}"
        if line not in self.warnings:
            self.warnings.append(line)
