"""Distances to a known answer: PSNR, SSIM, ΔE2000 and histogram correlation, as PST50 reports them.

Pictures are uint8 RGB (H, W, 3) of one size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.metrics.similarity import psnr

Picture = NDArray[np.uint8]
HISTOGRAM_BINS: Final = 16  # of each channel, in the joint RGB histogram


@dataclass(frozen=True)
class Truth:
    """How far a result is from the true answer.

    Attributes:
        psnr: dB.
        ssim: Structural similarity of the RGB channels, 7×7 windows (scikit-image's default).
        delta_e: Mean CIEDE2000 colour difference.
        histogram_correlation: Pearson correlation of the joint RGB histograms.
    """

    psnr: float
    ssim: float
    delta_e: float
    histogram_correlation: float


def truth(result: Picture, answer: Picture) -> Truth:
    """Compare a result with the true answer."""
    from skimage.color import deltaE_ciede2000, rgb2lab
    from skimage.metrics import structural_similarity

    similarity: Any = structural_similarity  # scikit-image is not typed
    difference: Any = deltaE_ciede2000

    correlation = cv2.compareHist(_histogram(result), _histogram(answer), cv2.HISTCMP_CORREL)
    return Truth(
        psnr=psnr(result, answer),
        ssim=float(similarity(result, answer, channel_axis=2)),
        delta_e=float(difference(rgb2lab(result), rgb2lab(answer)).mean()),
        histogram_correlation=float(correlation),
    )


def _histogram(picture: Picture) -> NDArray[np.float32]:
    bins = [HISTOGRAM_BINS] * 3
    return np.asarray(cv2.calcHist([picture], [0, 1, 2], None, bins, [0, 256] * 3), np.float32).ravel()
