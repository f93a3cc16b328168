"""Stylize live pictures with the last map received from the edge, warped along with the scene.

Live pictures cannot wait for a reply. So a key frame is sent as soon as the previous one has been answered,
and its motion is tracked while the request is pending. When its map arrives, it is warped onto the current
picture: one reply late, but in the right place. Until the first reply, pictures are passed through unchanged.
After a cut, the mean map of the old scene is used until the first map of the new one arrives.
"""

from __future__ import annotations

import math
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

import numpy as np

from device_runtime.interpolation.grid import grid_of, moved, on_grid, weakened
from device_runtime.interpolation.interpolator import transferred
from device_runtime.kernels import Transfer
from device_runtime.key_frames.scene_cuts import SceneCuts, luma_thumbnail
from device_runtime.media.planes import Picture, luma_of
from device_runtime.motion.flow import Follow, Luma, Motion, map_flow
from device_runtime.stylizers.request_queue import KeyRequests
from mvstylizer.stylizer import BilateralGrid, StylizedFrame

MIN_INTERVAL: Final = 8  # pictures from one key frame to the next


@dataclass
class _Key:
    """A key frame.

    Attributes:
        seconds: When it was captured.
        follow: Tracks the motion away from it.
        before: The previous key frame's map, warped onto it.
        trust: The motion of that warp, for its visibility.
    """

    seconds: float
    follow: Follow
    before: BilateralGrid | None
    trust: Motion | None


class LiveStyle:
    """Stylizes successive pictures; for use by one thread.

    Args:
        requests: Takes key frames and returns maps.
        transfer: Kernel that applies a map.
        strength: 0 (the original) to 1 (the full style).
        temporal_smoothing_s: Time constant for averaging the maps of key frames, in seconds; see
            `TemporalSmoothing`.

    Attributes:
        key_frames: Number of key frames answered so far.
    """

    def __init__(
        self,
        requests: KeyRequests,
        transfer: Transfer,
        *,
        strength: float = 1.0,
        temporal_smoothing_s: float = 1.0,
    ) -> None:
        self.key_frames = 0
        self._requests = requests
        self._transfer = transfer
        self._strength, self._steady_s = strength, temporal_smoothing_s
        self._flow = map_flow(refined=True)  # refined, because its visibility is used too
        self._begins_scene = SceneCuts()
        self._map: BilateralGrid | None = None
        self._key: _Key | None = None  # the key frame of that map
        self._pending: tuple[_Key, Future[StylizedFrame]] | None = None
        self._gap = 0

    def __call__(self, picture: Picture, seconds: float) -> Picture:
        """Stylize a picture with the map known so far; return it unchanged before the first reply.

        Args:
            picture: uint8 RGB (H, W, 3) or planes.
            seconds: When it was captured, on any clock.

        Returns:
            The picture, in planes only if `picture` is.

        Raises:
            MVStylizerError: The stylizer or the kernel fails.
        """
        luma = self._flow.prepare(luma_of(picture))
        if self._begins_scene(luma_thumbnail(picture)):
            self._leave_scene()
        grid, trust = self._carried(luma)
        grid = self._received(luma, grid)
        self._gap += 1
        if self._pending is None and (self._key is None or self._gap >= MIN_INTERVAL):
            key = _Key(seconds, self._flow.follow(luma), grid if self._key else None, trust)
            self._pending, self._gap = (key, self._requests.submit(picture)), 0
        if grid is None:
            return picture
        return transferred(self._transfer, picture, weakened(grid, self._strength))

    def _leave_scene(self) -> None:
        if self._map is not None:
            self._map = np.broadcast_to(self._map.mean((0, 1), keepdims=True), self._map.shape).copy()
        self._key = self._pending = None

    def _carried(self, luma: Luma) -> tuple[BilateralGrid | None, Motion | None]:
        """Return the current map, warped onto a picture, and the motion used."""
        if self._map is None or self._key is None:
            return self._map, None
        motion = self._key.follow(luma)
        return moved(self._map, motion), motion

    def _received(self, luma: Luma, carried: BilateralGrid | None) -> BilateralGrid | None:
        """Return the map of a reply that has arrived, warped onto this picture; otherwise `carried`."""
        if self._pending is None:
            return carried
        key, reply = self._pending
        motion = key.follow(luma)  # on every picture, because large motion is found step by step
        if not reply.done():
            return carried
        found = grid_of(reply.result())
        self._map, self._key, self._pending = self._smoothed(found, key), key, None
        self.key_frames += 1
        return moved(self._map, motion)

    def _smoothed(self, found: BilateralGrid, key: _Key) -> BilateralGrid:
        if key.before is None or key.trust is None or self._key is None or self._steady_s == 0:
            return found
        share = math.exp(-(key.seconds - self._key.seconds) / self._steady_s)
        kept = share * key.trust.visible_on(*found.shape[:2])[..., None, None, None]
        return np.asarray(found + kept * (on_grid(key.before, *found.shape[:3]) - found), np.float32)
