"""Move the label image of a shot's first frame along with the motion of the shot.

Labels are carried from an anchor frame to each of the next few frames by flow, and the last of these becomes
the next anchor, so that errors add up once per anchor and not once per frame. Flow is least certain at the
borders of objects, which are the borders of labels. There each region's own motion, extended from its
interior, is tried, and the region whose motion explains the pixel best gets it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from device_runtime.motion.flow import DisFlow, FlowEstimator, Luma, sample

ANCHOR: Final = 4  # frames
LOST: Final = 0.5  # visibility below which a place counts as not seen before
KEPT: Final = 0.5  # of the confidence, each time a lost place is carried over to a new anchor
BAND: Final = 5  # pixels of the flow's resolution on both sides of a border that are decided anew
REACH: Final = 31  # pixels over which a region's motion is extended
MIN_WEIGHT: Final = 1e-3
AREA: Final = 21  # pixels of the flow's resolution over which lost places are counted
MIN_FOUND: Final = 0.3  # share of an area; below it, the area is lost
SOFTNESS: Final = 0.02  # of the width: deviation of the blur that hides the borders of lost areas

Plane = NDArray[np.float32]


def border_flow() -> DisFlow:
    """Return an estimator that is exact at the borders of objects, at a few times the cost of the default."""
    return DisFlow(1.0, max_short_side=360, preset=cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)


class TrackedLabels(NamedTuple):
    """Labels of one frame.

    Attributes:
        regions: uint8 (H, W), the region of each pixel.
        confidence: float32 (h, w), on a coarser grid: 1 where a pixel was followed from the first frame,
            falling to 0 where it was not, such as on what has come into view.
    """

    regions: NDArray[np.uint8]
    confidence: Plane


class LabelTracker:
    """Tracks the regions of one shot. Give it every frame, in order.

    Args:
        regions: uint8 (H, W), the regions of the first frame, from 0.
        first: The luma of the first frame, uint8 (H, W).
        flow: Motion estimator; defaults to `border_flow`.
    """

    def __init__(self, regions: NDArray[np.uint8], first: Luma, flow: FlowEstimator | None = None) -> None:
        self._count = int(regions.max()) + 1
        self._size = regions.shape
        self._flow: FlowEstimator = flow or border_flow()
        luma = self._flow.prepare(first)
        small = cv2.resize(regions, luma.shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        self._first = TrackedLabels(regions, np.ones(luma.shape, np.float32))
        self._set_anchor(luma, np.asarray(small, np.uint8), self._first.confidence)

    def first(self) -> TrackedLabels:
        """Return the labels of the first frame."""
        return self._first

    def next(self, luma: Luma) -> TrackedLabels:
        """Return the labels of the next frame, given its luma, uint8 (H, W)."""
        prepared = self._flow.prepare(luma)
        motion = self._follow(prepared)
        height, width = prepared.shape
        visible = motion.visible_on(height, width)
        confidence = sample(self._confidence[..., None], motion.flow).reshape(height, width)
        # Over an area: single places without texture are found again only by chance.
        area = cv2.blur((visible >= LOST).astype(np.float32), (AREA, AREA))
        confidence = np.where(area < MIN_FOUND, np.float32(KEPT) * confidence, confidence)
        regions = self._refined(self._carried(motion.flow), motion.flow, visible, prepared)
        self._since_anchor += 1
        if self._since_anchor == ANCHOR:
            self._set_anchor(prepared, regions, confidence)
        full = cv2.resize(regions, self._size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        smooth = cv2.GaussianBlur(confidence, (0, 0), SOFTNESS * width)
        return TrackedLabels(np.asarray(full, np.uint8), np.asarray(smooth, np.float32))

    def _set_anchor(self, luma: Luma, regions: NDArray[np.uint8], confidence: Plane) -> None:
        self._anchor = luma.astype(np.float32)
        self._masks = [(regions == number).astype(np.float32) for number in range(self._count)]
        self._confidence = confidence
        self._follow = self._flow.follow(luma)
        self._since_anchor = 0

    def _carried(self, flow: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the regions by flow alone."""
        shares = [sample(mask[..., None], flow).reshape(mask.shape) for mask in self._masks]
        return np.asarray(np.argmax(shares, axis=0), np.uint8)

    def _refined(
        self, carried: NDArray[np.uint8], flow: NDArray[np.float32], visible: Plane, luma: Luma
    ) -> NDArray[np.uint8]:
        """Decide anew near borders, by the motion of each region's interior."""
        kernel = np.ones((2 * BAND + 1, 2 * BAND + 1), np.uint8)
        inside = cv2.erode(carried, kernel) == cv2.dilate(carried, kernel)
        if inside.all():
            return carried
        errors = np.full((self._count, *carried.shape), np.inf, np.float32)
        sizes = np.bincount(carried.ravel(), minlength=self._count)
        largest = np.full(carried.shape, -1, np.int32)
        for number in np.argsort(sizes):
            interior = ((carried == number) & inside & (visible >= LOST)).astype(np.float32)
            weight = cv2.GaussianBlur(interior, (0, 0), REACH / 3)
            near = weight > MIN_WEIGHT
            if not near.any():
                continue
            moved = cv2.GaussianBlur(flow * interior[..., None], (0, 0), REACH / 3)
            own = np.asarray(moved / np.maximum(weight, MIN_WEIGHT)[..., None], np.float32)
            error = np.abs(sample(self._anchor[..., None], own).reshape(luma.shape) - luma)
            was_here = sample(self._masks[number][..., None], own).reshape(luma.shape) >= 0.5
            errors[number] = np.where(was_here & near, cv2.blur(error, (3, 3)), np.inf)
            largest[near] = number  # a background comes into view, and is larger than what moves before it
        best = np.argmin(errors, axis=0)
        found = np.isfinite(errors.min(0))
        decided = np.where(found, best, np.where(largest >= 0, largest, carried))
        return np.where(inside, carried, decided).astype(np.uint8)
