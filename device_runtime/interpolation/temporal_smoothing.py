"""Temporal smoothing: an exponential average of the maps of a scene's key frames.

Each key frame is stylized independently, so its map follows every change of its statistics: flickering light,
an object at the border, noise. Blending between key frames turns that into a slow wobble. Here the map of one
key frame is warped onto the next one and averaged with its map, weighted by the time between them. A place
that was not visible before takes the new map alone, and a cut resets the average.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from device_runtime.interpolation.grid import moved, on_grid
from device_runtime.interpolation.interpolator import KeyFrameResult
from device_runtime.interpolation.segments import Segment
from device_runtime.motion.flow import FlowEstimator, Motion
from mvstylizer.stylizer import BilateralGrid

STEP: Final = 6  # frames per search step: large enough to save time, small enough for the search to succeed


class TemporalSmoothing:
    """Smooths the key frames of consecutive segments.

    Args:
        seconds: Time constant: the weight of the past falls to 37 % within it. 0 disables smoothing.
        flow: Estimates the motion from key frame to key frame.
        carried: Smoothed map of the first key frame, if an interrupted run computed it.
    """

    def __init__(self, seconds: float, flow: FlowEstimator, carried: BilateralGrid | None = None) -> None:
        self._seconds = seconds
        self._flow = flow
        self._carried = carried
        self._last: KeyFrameResult | None = None

    def motion(self, segment: Segment) -> Motion | None:
        """Return the motion of the next key frame relative to this one; None if nothing is averaged.

        Does not wait for replies.
        """
        if segment.following is None or self._seconds == 0:
            return None
        motion = self._flow.follow(segment.key.luma)
        for each in segment.between[STEP - 1 :: STEP]:
            motion(each.luma)
        return motion(segment.following.luma)

    def key(self, segment: Segment) -> KeyFrameResult:
        """Return the key frame at the start of a segment; waits for its reply."""
        if self._last is None or self._last.picture is not segment.key.frame.picture:
            self._last = segment.key.stylized
            if self._carried is not None and self._last.reply.grid is not None:
                self._last = self._last.with_map(self._carried)
        self._carried = None
        return self._last

    def following(self, segment: Segment, motion: Motion | None) -> KeyFrameResult | None:
        """Return the next key frame, smoothed; waits for its reply. Call `key` first.

        Args:
            segment: The segment.
            motion: Result of `motion` for it.
        """
        if segment.following is None:
            return None
        past, found = self.key(segment), segment.following.stylized
        before, now = past.reply.grid, found.reply.grid
        if motion is not None and before is not None and now is not None:
            share = math.exp(-segment.seconds / self._seconds)
            found = found.with_map(averaged(before, now, motion, share))
        self._last = found
        return found


def averaged(before: BilateralGrid, now: BilateralGrid, motion: Motion, share: float) -> BilateralGrid:
    """Average a key frame's map with that of the previous key frame.

    Args:
        before: float32 (rows', columns', bins', 3, 4), map of the previous key frame.
        now: float32 (rows, columns, bins, 3, 4), map of this key frame.
        motion: Motion of this key frame relative to the previous one.
        share: Weight of the previous map, 0 to 1, where the place was visible.

    Returns:
        float32, of the shape of `now`.
    """
    kept: NDArray[np.float32] = share * motion.visible_on(*now.shape[:2])[..., None, None, None]
    return np.asarray(now + kept * (moved(on_grid(before, *now.shape[:3]), motion) - now), np.float32)
