"""Steady key frames: the affine maps of a shot's key frames, carried on by an exponential average.

Each key frame is stylized by itself, so its map follows whatever its statistics do: a flicker of the light,
an object at the border, noise. Blending between key frames leaves a slow wobble of that. Here the map of one
key frame is moved along with the motion onto the next one and averaged with the new one, which counts by the
time that has gone by. A place that could not be seen before takes the new map alone, and a cut starts anew.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from device_runtime.interpolation.affine_map import AffineMap, moved, on_grid
from device_runtime.interpolation.interpolator import KeyFrameResult
from device_runtime.interpolation.segments import Segment
from device_runtime.motion.flow import FlowEstimator, Motion

STEP: Final = 6  # frames: far enough to save time, near enough for the search to follow


class TemporalSmoothing:
    """Gives the key frames of one segment after the other, steadied.

    Args:
        seconds: Time constant: the past's share falls to 37 % within it. 0 = every map as it came.
        flow: Finds the motion from key frame to key frame.
        carried: The steadied map of the first key frame, where an earlier run has found it.
    """

    def __init__(self, seconds: float, flow: FlowEstimator, carried: AffineMap | None = None) -> None:
        self._seconds = seconds
        self._flow = flow
        self._carried = carried
        self._last: KeyFrameResult | None = None

    def motion(self, segment: Segment) -> Motion | None:
        """Return what the key frame behind needs of the one before; None where nothing is to be averaged.

        Waits for nothing, so it can be done while replies are still on their way.
        """
        if segment.following is None or self._seconds == 0:
            return None
        motion = self._flow.follow(segment.key.luma)
        for each in segment.between[STEP - 1 :: STEP]:
            motion(each.luma)
        return motion(segment.following.luma)

    def key(self, segment: Segment) -> KeyFrameResult:
        """Return the key frame that a segment starts with; waits for its reply."""
        if self._last is None or self._last.rgb is not segment.key.frame.rgb:
            self._last = segment.key.stylized
            if self._carried is not None and self._last.reply.affine_map is not None:
                self._last = self._last.with_map(self._carried)
        self._carried = None
        return self._last

    def following(self, segment: Segment, motion: Motion | None) -> KeyFrameResult | None:
        """Return the key frame that ends a segment, after `key`; waits for its reply.

        Args:
            segment: The segment.
            motion: What `motion` returned for it.
        """
        if segment.following is None:
            return None
        past, found = self.key(segment), segment.following.stylized
        before, now = past.reply.affine_map, found.reply.affine_map
        if motion is not None and before is not None and now is not None:
            share = math.exp(-segment.seconds / self._seconds)
            found = found.with_map(averaged(before, now, motion, share))
        self._last = found
        return found


def averaged(before: AffineMap, now: AffineMap, motion: Motion, share: float) -> AffineMap:
    """Average a key frame's map with that of the key frame before it.

    Args:
        before: float32 (gh, gw, 3, 4), of the key frame before.
        now: float32 (gh, gw, 3, 4), of this one; its grid may be another.
        motion: Of this key frame relative to the one before.
        share: Of the map before, 0 to 1, where the place could be seen.

    Returns:
        float32, on the grid of `now`.
    """
    rows, columns = now.shape[:2]
    kept: NDArray[np.float32] = share * motion.visible_on(rows, columns)[..., None, None]
    return np.asarray(now + kept * (moved(on_grid(before, rows, columns), motion) - now), np.float32)
