"""What an eye objects to in a graded photo and an SSIM or Gram figure does not see.

Haze, patches, colour that bleeds over edges, tinted neutrals and skin. Pictures are uint8 RGB (H, W, 3); a
result is compared with its content and style, all at a long side of 256 pixels.
Differences are in CIE Lab units (ΔE 1976): about 2 is just noticeable next to each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.metrics.similarity import at_long_side, resized

Picture = NDArray[np.uint8]
Lab = NDArray[np.float32]

BLACK_PERCENTILE: Final = 1.0
LONG_SIDE: Final = 256  # pixels; what is looked for is larger than a few of them
LOCAL_SIGMA: Final = 4.0  # pixels: what counts as local contrast
RICHARDSON_STEPS: Final = 6
BINS: Final = (20, 20, 20)  # cells of a picture's own range of L, a and b, for its global mapping
EDGE_DISTANCE: Final = 3  # pixels: how far from an edge bleeding is looked for
EDGE_SHARE: Final = 0.95  # quantile of the gradient above which an edge counts as strong
NEUTRAL_CHROMA: Final = 5.0
MIN_SHARE: Final = 0.005  # of the pixels; fewer neutrals or skin pixels say nothing
SKIN_MIN, SKIN_MAX = (60, 135, 85), (245, 175, 130)  # Y, Cr, Cb: Chai and Ngan (1999), widened


@dataclass(frozen=True)
class Artefacts:
    """Artefacts of one result.

    Attributes:
        black_point: L* of the result's first percentile above the higher of content's and style's; below 0
            its blacks are deeper than that.
        black_point_middle: The same above the mean of the two.
        local_contrast: Local contrast of luma over the lower of content's and style's; below 0.9 is haze.
        patches: ΔE between the result and the best global colour mapping of the content: how far pixels of
            one content colour drift apart.
        bleeding: ΔE of that drift next to strong edges, less its value elsewhere.
        neutral_drift: ΔE in (a, b) between the shift of the content's neutrals and the shift of the picture
            as a whole; None where the content has no neutrals.
        skin_drift: Mean ΔE over the content's skin-coloured pixels; None where there are none.
    """

    black_point: float
    black_point_middle: float
    local_contrast: float
    patches: float
    bleeding: float
    neutral_drift: float | None
    skin_drift: float | None


def artefacts(content: Picture, style: Picture, result: Picture) -> Artefacts:
    """Measure the artefacts of a result. The result is resized to the content's size."""
    small = at_long_side(content, LONG_SIDE)
    made = resized(result, small.shape[1], small.shape[0])
    here, there, out = _lab(small), _lab(at_long_side(style, LONG_SIDE)), _lab(made)
    blacks = [float(np.percentile(x[..., 0], BLACK_PERCENTILE)) for x in (here, there, out)]
    lower = min(_local_contrast(here), _local_contrast(there))
    drift = np.linalg.norm(out - global_mapping(here, out), axis=-1)
    near = _near_strong_edges(here)
    return Artefacts(
        black_point=blacks[2] - max(blacks[:2]),
        black_point_middle=blacks[2] - (blacks[0] + blacks[1]) / 2,
        local_contrast=_local_contrast(out) / max(lower, 1e-3),
        patches=_rms(drift),
        bleeding=_rms(drift[near]) - _rms(drift[~near]) if near.any() and not near.all() else 0.0,
        neutral_drift=_neutral_drift(here, out),
        skin_drift=_skin_drift(small, here, out),
    )


def global_mapping(content: Lab, result: Lab) -> Lab:
    """Return the result that the best single colour mapping content → result would give, (H, W, 3).

    A table of mean result colours over the content's range of Lab, read trilinearly and fitted by a few
    Richardson steps, so that a smooth global grade leaves almost nothing over.
    """
    low = content.reshape(-1, 3).min(0)
    span = content.reshape(-1, 3).max(0) - low + 1e-3
    cells = _cells((content.reshape(-1, 3) - low) / span * (np.array(BINS) - 1))
    target = result.reshape(-1, 3).astype(np.float64)
    weight = np.maximum(np.asarray(cells.sum(0)).ravel(), 1e-6)[:, None]
    table = np.zeros((cells.shape[1], 3))
    for _ in range(RICHARDSON_STEPS):
        table += cells.T @ (target - cells @ table) / weight
    return np.asarray(cells @ table, np.float32).reshape(content.shape)


def _cells(at: NDArray[np.float32]) -> Any:
    """Return trilinear weights of the table's cells for each colour, a sparse matrix (pixels, cells)."""
    from scipy.sparse import csr_array

    base = np.clip(at.astype(np.int64), 0, np.array(BINS) - 2)
    part = at - base
    corners = np.array(list(np.ndindex(2, 2, 2)))
    weights = np.where(corners, part[:, None], 1 - part[:, None]).prod(-1)
    columns = np.ravel_multi_index(tuple(np.moveaxis(base[:, None] + corners, -1, 0)), BINS)
    rows = np.arange(len(at)).repeat(len(corners))
    return csr_array((weights.ravel(), (rows, columns.ravel())), shape=(len(at), int(np.prod(BINS))))


def _local_contrast(lab: Lab) -> float:
    lightness = lab[..., 0]
    return float(np.std(lightness - cv2.GaussianBlur(lightness, (0, 0), LOCAL_SIGMA)))


def _near_strong_edges(lab: Lab) -> NDArray[np.bool_]:
    smooth = cv2.GaussianBlur(lab, (0, 0), 1.0)
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    magnitude = np.sqrt((across**2 + down**2).sum(-1))
    strong = (magnitude > max(10.0, float(np.quantile(magnitude, EDGE_SHARE)))).astype(np.uint8)
    size = 2 * EDGE_DISTANCE + 1
    return np.asarray(cv2.dilate(strong, np.ones((size, size), np.uint8)), bool)


def _neutral_drift(content: Lab, result: Lab) -> float | None:
    neutral = np.linalg.norm(content[..., 1:], axis=-1) < NEUTRAL_CHROMA
    if neutral.mean() < MIN_SHARE:
        return None
    shift = (result - content)[..., 1:]
    return float(np.linalg.norm(shift[neutral].mean(0) - shift.reshape(-1, 2).mean(0)))


def _skin_drift(content: Picture, before: Lab, after: Lab) -> float | None:
    codes = cv2.cvtColor(content, cv2.COLOR_RGB2YCrCb)
    skin = cv2.inRange(codes, np.array(SKIN_MIN), np.array(SKIN_MAX)) > 0
    if skin.mean() < MIN_SHARE:
        return None
    return float(np.linalg.norm(after[skin] - before[skin], axis=1).mean())


def _rms(values: NDArray[np.floating[Any]]) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def _lab(picture: Picture) -> Lab:
    return np.asarray(cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)
