"""Scene cuts: nothing of one scene may be carried into the next, so every cut starts a key frame."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from device_runtime.kernels.key_frame import LUMA_SHAPE
from device_runtime.motion.similarity import MotionCompensatedSSIM

# On real footage a cut stays below 0.28 and everything else (pans of 90 pixels a frame at 640, camera shake,
# flashes, dissolves, objects that pass close by) above 0.48.
SIMILAR: Final = 0.35


def luma_thumbnail(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Shrink a frame to the 90×160 luma that cuts and key frames are judged by.

    Args:
        rgb: uint8 RGB (H, W, 3), any shape; the sides are stretched to fit.

    Returns:
        uint8 (90, 160), BT.601 luma 0..255.
    """
    height, width = LUMA_SHAPE
    small = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)


class SceneCuts:
    """Tells frame by frame whether a new scene begins.

    A frame begins one when even after following the motion it does not resemble the frame before: when their
    `MotionCompensatedSSIM` is low. Plain differences cannot tell a cut
    from a fast pan; a flow can explain the pan, and nothing explains the cut.

    Args:
        similar: Likeness below which there is a cut.
    """

    def __init__(self, similar: float = SIMILAR) -> None:
        self._similar = similar
        self._likeness = MotionCompensatedSSIM()
        self._before: NDArray[np.uint8] | None = None

    def __call__(self, luma: NDArray[np.uint8]) -> bool:
        """Judge the next frame.

        Args:
            luma: uint8 (90, 160), as `luma_thumbnail` makes it.

        Returns:
            Whether a scene begins here; True for the first frame.
        """
        before, self._before = self._before, luma
        return before is None or self._likeness(luma, before)[0] < self._similar
