"""Scene-cut detection. No style may carry over from one scene to the next, so every cut needs a key frame."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from device_runtime.kernels.key_frame import LUMA_SHAPE
from device_runtime.media.planes import Picture, Planes
from device_runtime.motion.similarity import MotionCompensatedSSIM

# On real footage cuts stay below 0.28 and everything else (pans of 90 pixels per frame at 640, camera shake,
# flashes, dissolves, objects passing close by) stays above 0.48.
MIN_SSIM: Final = 0.35


def luma_thumbnail(picture: Picture) -> NDArray[np.uint8]:
    """Shrink a frame to the 90×160 luma thumbnail used to detect cuts and select key frames.

    Args:
        picture: uint8 RGB (H, W, 3) or planes, any size; the aspect ratio is not kept.

    Returns:
        uint8 (90, 160), luma 0..255: of BT.601 for RGB, otherwise of the video's own matrix.
    """
    height, width = LUMA_SHAPE
    if isinstance(picture, Planes):
        return picture.thumbnail(width, height)
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)


class SceneCuts:
    """Detects scene cuts, given frames in presentation order.

    A frame starts a scene if it does not resemble the previous frame even after motion compensation, that is,
    if their `MotionCompensatedSSIM` is low. Plain differences cannot distinguish a cut from a fast pan; flow
    explains the pan but not the cut.

    Args:
        min_ssim: SSIM below which there is a cut.
    """

    def __init__(self, min_ssim: float = MIN_SSIM) -> None:
        self._min_ssim = min_ssim
        self._ssim = MotionCompensatedSSIM()
        self._previous: NDArray[np.uint8] | None = None

    def __call__(self, luma: NDArray[np.uint8]) -> bool:
        """Return whether the next frame starts a scene; True for the first frame.

        Args:
            luma: uint8 (90, 160), from `luma_thumbnail`.
        """
        previous, self._previous = self._previous, luma
        return previous is None or self._ssim(luma, previous)[0] < self._min_ssim
