"""Picture similarity and temporal stability. Pictures are uint8 RGB (H, W, 3) everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from device_runtime.motion.flow import DisFlow, Motion, sample

Picture = NDArray[np.uint8]
Plane = NDArray[np.float64]

LONG_SIDE: Final = 512  # pixels; photos are compared at this size
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2  # the constants of Wang et al. (2004)


def at_long_side(picture: Picture, side: int = LONG_SIDE) -> Picture:
    """Return a picture resized to a longer side of `side` pixels."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    return resized(picture, round(width * scale), round(height * scale))


def resized(picture: Picture, width: int, height: int) -> Picture:
    """Return a picture resized by area averaging."""
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def luma(picture: Picture) -> NDArray[np.uint8]:
    """Return BT.601 luma, uint8 (H, W)."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def ssim(first: NDArray[np.generic], second: NDArray[np.generic]) -> float:
    """Return the structural similarity (Wang et al. 2004) of two planes (H, W) of gray levels, 0..255.

    Uses a Gaussian window of 11 pixels with sigma 1.5 and reflected borders; averaged over the whole plane.
    """
    x, y = first.astype(np.float64), second.astype(np.float64)
    mean_x, mean_y = _blurred(x), _blurred(y)
    var_x, var_y = _blurred(x * x) - mean_x**2, _blurred(y * y) - mean_y**2
    both = _blurred(x * y) - mean_x * mean_y
    similarity = (2 * mean_x * mean_y + C1) * (2 * both + C2)
    return float((similarity / ((mean_x**2 + mean_y**2 + C1) * (var_x + var_y + C2))).mean())


def edge_ssim(first: Picture, second: Picture) -> float:
    """Return the SSIM of the Sobel magnitudes of luma, each normalized to a mean of 40.

    The normalization makes it independent of contrast; only lost or new edges lower it.
    """
    return ssim(_edges(luma(first)), _edges(luma(second)))


def psnr(first: Picture, second: Picture) -> float:
    """Return the peak signal-to-noise ratio in dB; 100 for equal pictures."""
    error = float(np.mean((first.astype(np.float64) - second) ** 2))
    return 100.0 if error == 0 else min(100.0, 10 * np.log10(255**2 / error))


def sliced_wasserstein(
    first: Picture, second: Picture, *, directions: int = 64, quantiles: int = 512
) -> float:
    """Return the sliced 2-Wasserstein distance of two pictures' colors in CIE Lab (L 0..100).

    The root mean square, over fixed random directions, of the distance between the sorted projections. The
    pictures may differ in size.
    """
    rng = np.random.default_rng(0)
    axes = rng.normal(size=(3, directions))
    axes /= np.linalg.norm(axes, axis=0)
    places = (np.arange(quantiles) + 0.5) / quantiles
    curves = [np.quantile(_lab(picture) @ axes, places, axis=0) for picture in (first, second)]
    return float(np.sqrt(np.mean((curves[0] - curves[1]) ** 2)))


def motions(filmed: Sequence[Picture]) -> list[Motion]:
    """Return the motion of each picture but the first relative to the previous one; there must be no cut."""
    flow = DisFlow()
    small = [flow.prepare(picture) for picture in filmed]
    return [flow.follow(before)(after) for before, after in pairwise(small)]


def warping_errors(moved: Sequence[Motion], shown: Sequence[Picture]) -> list[float]:
    """Return the temporal warping error: the difference of each picture to the previous one, warped.

    Args:
        moved: Motion and visibility of the source footage.
        shown: Pictures to evaluate; the source footage itself gives a reference value.

    Returns:
        For each picture but the first, the root mean square difference in gray levels over pixels that are
        visible in both.
    """
    errors = []
    for motion, (before, after) in zip(moved, pairwise(shown), strict=True):
        height, width = after.shape[:2]
        carried = sample(before.astype(np.float32), motion.flow_on(height, width))
        visible = (motion.visible_on(height, width) > 0.5).view(np.uint8)
        values = 3 * cv2.countNonZero(visible)
        distance = cv2.norm(carried, after.astype(np.float32), cv2.NORM_L2, visible)
        errors.append(distance / np.sqrt(values) if values else 0.0)
    return errors


def flicker(filmed: Sequence[Picture], shown: Sequence[Picture]) -> list[float]:
    """Return the change of the mean color offset from each picture to the next, in gray levels.

    The offset is the mean color of the shown picture minus that of the filmed one, so that motion in the
    scene is not counted.
    """
    look = [_mean_color(b) - _mean_color(a) for a, b in zip(filmed, shown, strict=True)]
    return [float(np.abs(after - before).mean()) for before, after in pairwise(look)]


def _mean_color(picture: Picture) -> NDArray[np.float64]:
    return np.array(
        cv2.mean(picture)[:3]
    )  # exact sums, and a hundred times faster than NumPy's over two axes


def _blurred(plane: Plane) -> Plane:
    return np.asarray(cv2.GaussianBlur(plane, (11, 11), 1.5), np.float64)


def _edges(plane: NDArray[np.uint8]) -> NDArray[np.float32]:
    gray = plane.astype(np.float32)
    across, down = cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)
    magnitude = np.hypot(across, down)
    return np.asarray(magnitude / (magnitude.mean() + 1e-6) * 40, np.float32)


def _lab(picture: Picture) -> NDArray[np.float32]:
    unit = at_long_side(picture, 256).astype(np.float32) / 255
    return np.asarray(cv2.cvtColor(unit, cv2.COLOR_RGB2LAB), np.float32).reshape(-1, 3)
