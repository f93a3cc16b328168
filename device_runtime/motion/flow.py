"""Motion between a frame and a key frame: backward flow and visibility.

Relation to the paper: its Eq. 1 makes the intermediate frame i_s from the stylized key frame k_p and the
*forward* flow k_p → i_s, which gives the destination of each pixel of the key frame. Forward warping leaves
holes and collisions, so the same motion is expressed here on the grid of i_s as *backward* flow i_s → k_p,
which gives the origin of each pixel: ``out[y, x] = key[y + dy, x + dx]``. Without occlusion, the two are
inverse: forward(p + backward(p)) = -backward(p). Where that fails, a pixel has no counterpart.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

Luma = NDArray[np.uint8]

SUM: Final = np.ones((1, 2))

MIN_SHORT_SIDE: Final = 160  # pixels; going below saves little time and loses much motion
MIN_SIDE: Final = 32  # pixels; minimum for DIS
VISIBILITY_SPACING: Final = (
    2  # pixels; visibility is only a weight, for which a quarter of the pixels suffices
)


@dataclass(frozen=True)
class Motion:
    """Motion of one frame relative to one key frame, at the resolution it was estimated at.

    Attributes:
        flow: Backward flow, float32 (h, w, 2), (dx, dy) in pixels of this (h, w).
        visible: float32, on any grid over the same frame: 1 where the place is visible in the key frame too,
            falling to 0 where it is not.
    """

    flow: NDArray[np.float32]
    visible: NDArray[np.float32]

    def flow_on(self, height: int, width: int) -> NDArray[np.float32]:
        """Return the backward flow on another grid over the same frame, in units of that grid.

        Args:
            height: Rows of the grid: those of the frame for pixels, those of a map for cells.
            width: Columns of the grid.

        Returns:
            float32 (height, width, 2); a coarser grid gets the mean flow of each cell.
        """
        rows, columns = self.flow.shape[:2]
        units = np.array([width / columns, height / rows], np.float32)
        return _resize(self.flow * units, height, width)

    def visible_on(self, height: int, width: int) -> NDArray[np.float32]:
        """Return the visibility on another grid over the same frame, float32 (height, width)."""
        return _resize(self.visible, height, width)


class Follow(Protocol):
    """Returns the motion of successive frames relative to a key frame."""

    def __call__(self, frame: Luma, step: NDArray[np.float32] | None = None) -> Motion:
        """Return the motion of a frame relative to the key frame.

        Args:
            frame: The frame, prepared.
            step: Backward motion to the frame of the previous call (initially the key frame), if known:
                float32 (rows, columns, 2) on any grid, as fractions of the frame's width and height.
        """
        ...


class FlowEstimator(Protocol):
    """Estimates motion between frames of one video; `stylize_video` accepts any implementation."""

    def prepare(self, picture: NDArray[np.uint8]) -> Luma:
        """Return the small luma that `follow` needs of a frame, uint8 luma (H, W) or RGB (H, W, 3)."""
        ...

    def follow(self, key: Luma) -> Follow:
        """Track the motion away from a key frame.

        Args:
            key: The key frame, prepared.

        Returns:
            A function from a prepared frame to its motion relative to the key frame. Call it for the frame
            nearest to the key frame first, then for the next one: each search is initialized with the
            previous result, so that large motion is found step by step.
        """
        ...


class StillFlow:
    """No motion: for maps that do not depend on the place, such as those of a global look-up table."""

    def prepare(self, picture: NDArray[np.uint8]) -> Luma:
        """Return a single pixel; see `FlowEstimator.prepare`."""
        return np.zeros((1, 1), np.uint8)

    def follow(self, key: Luma) -> Follow:
        """Return no motion for every frame; see `FlowEstimator.follow`."""
        still = Motion(np.zeros((1, 1, 2), np.float32), np.ones((1, 1), np.float32))
        return lambda frame, step=None: still


class DisFlow:
    """Dense inverse search (Kroeger et al. 2016) on luma, in OpenCV's implementation.

    Each search is initialized with the flow of the previous frame, combined with the step from that frame if
    it is known.

    Args:
        scale: Scale of the frame's sides at which motion is estimated, above 0 and at most 1. The short side
            stays at 160 pixels or more.
        max_short_side: Maximum short side in pixels; larger frames are shrunk further.
        preset: OpenCV's preset.
    """

    def __init__(
        self,
        scale: float = 0.5,
        *,
        max_short_side: int = 540,
        preset: int = cv2.DISOPTICAL_FLOW_PRESET_FAST,
    ) -> None:
        self._scale = scale
        self._max_short_side = max_short_side
        self._search = cv2.DISOpticalFlow.create(preset)

    def prepare(self, picture: NDArray[np.uint8]) -> Luma:
        """Return the frame's luma at working resolution; see `FlowEstimator.prepare`."""
        luma = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        return self._shrink(np.asarray(luma, np.uint8))

    def follow(self, key: Luma) -> Follow:
        """Track the motion away from a key frame; see `FlowEstimator.follow`."""
        flow = np.zeros((*key.shape, 2), np.float32)
        back = flow

        def motion(frame: Luma, step: NDArray[np.float32] | None = None) -> Motion:
            nonlocal flow, back
            if step is not None:
                height, width = frame.shape
                by_one = _resize(step * np.array([width, height], np.float32), height, width)
                flow, back = by_one + sample(flow, by_one), back - sample(by_one, back)
            flow, back = self._estimate(frame, key, flow), self._estimate(key, frame, back)
            return Motion(flow, visibility(flow, back, spacing=VISIBILITY_SPACING))

        return motion

    def backward_flow(self, frame_luma: Luma, key_luma: Luma) -> NDArray[np.float32]:
        """Return the backward flow at full size.

        Args:
            frame_luma: uint8 (H, W), the intermediate frame.
            key_luma: uint8 (H, W), the key frame.

        Returns:
            float32 (H, W, 2), (dx, dy) in pixels: ``frame[y, x]`` corresponds to ``key[y + dy, x + dx]``.
        """
        frame, key = self._shrink(frame_luma), self._shrink(key_luma)
        flow = self._estimate(frame, key, np.zeros((*frame.shape, 2), np.float32))
        return Motion(flow, np.ones(frame.shape, np.float32)).flow_on(*frame_luma.shape)

    def _shrink(self, luma: Luma) -> Luma:
        short = min(luma.shape)
        wanted = min(max(short * self._scale, min(short, MIN_SHORT_SIDE)), self._max_short_side)
        height, width = (max(MIN_SIDE, round(side * wanted / short)) for side in luma.shape)
        return np.asarray(_resize(luma, height, width), np.uint8)

    def _estimate(self, frame: Luma, key: Luma, start: NDArray[np.float32]) -> NDArray[np.float32]:
        # DIS reads the initial flow from this array and writes the result into it.
        return np.asarray(self._search.calc(frame, key, start.copy()), np.float32)


def map_flow(*, refined: bool = False) -> DisFlow:
    """Return an estimator for moving maps, whose cells are many pixels wide.

    A quarter of the frame's sides shows their motion well enough. The variational refinement of single pixels
    is left out: by the measures of `bench table4` frames are as good without it, where maps are moved (where
    pixels are, the warping error rises).

    Args:
        refined: With the refinement, by which more places are found to be visible: what averages maps from
            key frame to key frame keeps the steadier look.
    """
    if refined:
        return DisFlow(0.25)
    return DisFlow(0.25, preset=cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)


def visibility(
    flow: NDArray[np.float32], back: NDArray[np.float32], *, spacing: int = 1
) -> NDArray[np.float32]:
    """Return which places of a frame are visible in the other one, from the round-trip error.

    The round-trip error e = |f + b(p + f)|² is compared with the threshold of Sundaram et al. (2010),
    t = 0.01 (|f|² + |b|²) + 0.5: visible = t / (t + e), which is 0.5 at the threshold. This soft measure
    blends two key frames slightly better than a binary one.

    Args:
        flow: float32 (h, w, 2), pixels.
        back: float32 (h, w, 2), pixels, the opposite flow.
        spacing: Distance between sampled places in pixels.

    Returns:
        float32 (ceil(h / spacing), ceil(w / spacing)), 0..1.
    """
    there = np.ascontiguousarray(flow[::spacing, ::spacing])
    returned = sample(np.ascontiguousarray(back[::spacing, ::spacing]), there, unit=spacing)
    # OpenCV instead of NumPy arithmetic, which would make twice as many passes over memory.
    missed = cv2.add(there, returned)
    error = cv2.transform(cv2.multiply(missed, missed), SUM)
    lengths = cv2.add(cv2.multiply(there, there), cv2.multiply(returned, returned))
    allowed = cv2.transform(lengths, np.array([[0.01, 0.01, 0.5]]))
    return np.asarray(cv2.divide(allowed, cv2.add(allowed, error)), np.float32)


def sample(
    picture: NDArray[np.float32], flow: NDArray[np.float32], *, unit: float = 1
) -> NDArray[np.float32]:
    """Sample a picture at the places a backward flow points to: bilinear, edges clamped.

    Args:
        picture: float32 (h, w, C).
        flow: float32 (h, w, 2), `unit` per pixel.
        unit: Flow units per pixel of `picture`.

    Returns:
        float32 (h, w, C).
    """
    places = cv2.addWeighted(flow, 1 / unit, _grid(*flow.shape[:2]), 1, 0)
    moved = cv2.remap(picture, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    return np.asarray(moved, np.float32)


@lru_cache(maxsize=8)
def _grid(height: int, width: int) -> NDArray[np.float32]:
    """Return the (x, y) of each pixel, float32 (h, w, 2)."""
    rows, columns = np.indices((height, width), np.float32)
    grid: NDArray[np.float32] = np.stack([columns, rows], -1)
    grid.flags.writeable = False
    return grid


def _resize(picture: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    if picture.shape[:2] == (height, width):
        return picture
    shrinks = height <= picture.shape[0] and width <= picture.shape[1]
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
