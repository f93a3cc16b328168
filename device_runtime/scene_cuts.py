"""Scene cuts: nothing of one scene may be carried into the next, so every cut starts a key frame."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from device_runtime.flow import sample
from device_runtime.kernels.key_frame import LUMA_SHAPE

# On real footage a cut stays below 0.28 and everything else (pans of 90 pixels a frame at 640, camera shake,
# flashes, dissolves, objects that pass close by) above 0.48.
SIMILAR: Final = 0.35
WINDOW: Final = (9, 9)
C1: Final = (0.01 * 255) ** 2
C2: Final = (0.03 * 255) ** 2


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

    A frame begins one when even after following the motion it does not resemble the frame before: when the
    SSIM (Wang et al. 2004) of the motion-compensated thumbnails is low. Plain differences cannot tell a cut
    from a fast pan; a flow can explain the pan, and nothing explains the cut.

    Args:
        similar: SSIM below which there is a cut.
    """

    def __init__(self, similar: float = SIMILAR) -> None:
        self._similar = similar
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._before: NDArray[np.uint8] | None = None

    def __call__(self, luma: NDArray[np.uint8]) -> bool:
        """Judge the next frame.

        Args:
            luma: uint8 (90, 160), as `luma_thumbnail` makes it.

        Returns:
            Whether a scene begins here; True for the first frame.
        """
        before, self._before = self._before, luma
        return before is None or self._similarity(before, luma) < self._similar

    def _similarity(self, before: NDArray[np.uint8], luma: NDArray[np.uint8]) -> float:
        flow = np.zeros((*LUMA_SHAPE, 2), np.float32)
        flow = np.asarray(self._flow.calc(luma, before, flow), np.float32)
        return _ssim(sample(before.astype(np.float32), flow), luma.astype(np.float32))


def _ssim(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    mean_a, mean_b = cv2.blur(a, WINDOW), cv2.blur(b, WINDOW)
    variances = cv2.blur(a * a + b * b, WINDOW) - mean_a**2 - mean_b**2
    covariance = cv2.blur(a * b, WINDOW) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return float((luminance * (2 * covariance + C2) / (variances + C2)).mean())
