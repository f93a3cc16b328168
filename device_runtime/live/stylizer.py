"""The style of live pictures: whatever map has come back from the edge last, moved along with the scene.

A live picture cannot wait for a reply. So a key frame is sent as soon as the one before has been answered,
and while it is on its way its motion is followed too. When its map comes, it is moved onto the picture of
that moment: late by a reply, but in place. Until the first reply pictures pass as they are; behind a cut the
old scene's mean map serves until the new one's comes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from device_runtime.interpolation.affine_map import AffineMap, moved, on_grid, weakened
from device_runtime.kernels import Transfer
from device_runtime.key_frames.scene_cuts import SceneCuts, luma_thumbnail
from device_runtime.motion.flow import Luma, Motion, map_flow
from device_runtime.stylizers.request_queue import KeyReplyError, KeyRequests
from mvstylizer.stylizer import StylizedFrame

INTERVAL: Final = 8  # pictures from one key frame to the next, at least

Follow = Callable[[Luma], Motion]


@dataclass
class _Key:
    """A key frame: when it was, how the scene moves away from it, and what came before it on its own grid."""

    seconds: float
    follow: Follow
    before: AffineMap | None
    trust: Motion | None


class LiveStyle:
    """Stylizes one picture after the other; used by one thread.

    Args:
        requests: Takes key frames; asked for maps.
        transfer: The kernel that applies a map.
        strength: 0 (the original) to 1 (the full style).
        steady_s: Seconds over which maps are averaged from key frame to key frame; see `TemporalSmoothing`.

    Attributes:
        key_frames: Key frames answered so far.
    """

    def __init__(
        self, requests: KeyRequests, transfer: Transfer, *, strength: float = 1.0, steady_s: float = 1.0
    ) -> None:
        self.key_frames = 0
        self._requests = requests
        self._transfer = transfer
        self._strength, self._steady_s = strength, steady_s
        self._flow = map_flow(refined=True)  # it says where to trust the past, too
        self._begins_scene = SceneCuts()
        self._map: AffineMap | None = None
        self._key: _Key | None = None  # whose map that is
        self._asked: tuple[_Key, Future[StylizedFrame]] | None = None
        self._gap = 0

    def __call__(self, rgb: NDArray[np.uint8], seconds: float) -> NDArray[np.uint8]:
        """Return a picture in the style as far as it is known, uint8 RGB (H, W, 3).

        Args:
            rgb: uint8 RGB (H, W, 3).
            seconds: When it was, on any clock.

        Raises:
            MVStylizerError: The stylizer or the kernel fails.
        """
        luma = self._flow.prepare(rgb)
        if self._begins_scene(luma_thumbnail(rgb)):
            self._leave_scene()
        affine_map, trust = self._carried(luma)
        affine_map = self._received(luma, affine_map)
        self._gap += 1
        if self._asked is None and (self._key is None or self._gap >= INTERVAL):
            key = _Key(seconds, self._flow.follow(luma), affine_map if self._key else None, trust)
            self._asked, self._gap = (key, self._requests.submit(rgb)), 0
        return rgb if affine_map is None else self._transfer(rgb, weakened(affine_map, self._strength))

    def _leave_scene(self) -> None:
        if self._map is not None:
            self._map = np.broadcast_to(self._map.mean((0, 1), keepdims=True), self._map.shape).copy()
        self._key = self._asked = None

    def _carried(self, luma: Luma) -> tuple[AffineMap | None, Motion | None]:
        """Return the map in use, moved onto a picture, and how."""
        if self._map is None or self._key is None:
            return self._map, None
        motion = self._key.follow(luma)
        return moved(self._map, motion), motion

    def _received(self, luma: Luma, carried: AffineMap | None) -> AffineMap | None:
        """Take a reply that has come, and return its map on this picture; `carried` while none has."""
        if self._asked is None:
            return carried
        key, reply = self._asked
        motion = key.follow(luma)  # also while waiting: long motion is found step by step
        if not reply.done():
            return carried
        found = reply.result().affine_map
        if found is None:
            raise KeyReplyError("The stylizer sent no map", "Check that the edge serves a bundle of this kit")
        self._map, self._key, self._asked = self._steadied(found, key), key, None
        self.key_frames += 1
        return moved(self._map, motion)

    def _steadied(self, found: AffineMap, key: _Key) -> AffineMap:
        if key.before is None or key.trust is None or self._key is None or self._steady_s == 0:
            return found
        share = math.exp(-(key.seconds - self._key.seconds) / self._steady_s)
        rows, columns = found.shape[:2]
        kept = share * key.trust.visible_on(rows, columns)[..., None, None]
        return np.asarray(found + kept * (on_grid(key.before, rows, columns) - found), np.float32)
