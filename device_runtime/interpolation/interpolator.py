"""Intermediate frames, made on the device from the stylized key frames on both sides.

Both kinds follow Algorithm 1 of the paper, mended and extended: its ``else q = q + 1`` branch moves on to the
next key frame without making the frame in hand, which drops it; here every frame lies between two key frames
(or behind the last of its scene) and is made. Where the paper uses the key frame before only, both sides are
blended: each weighs by its distance in time and by whether the place can be seen in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from device_runtime.interpolation.affine_map import AffineMap, moved, on_grid, weakened
from device_runtime.kernels import Transfer, Warp
from device_runtime.motion.flow import Motion
from mvstylizer.stylizer import StylizedFrame

Picture = NDArray[np.uint8]

HIDDEN_ON_BOTH_SIDES: Final = 1e-3  # keeps the weights above 0: then time alone decides


@dataclass(frozen=True)
class KeyFrameResult:
    """A key frame and the edge's reply to it.

    Attributes:
        rgb: The key frame, uint8 RGB (H, W, 3).
        reply: Its stylized image, of the same size, or its affine map, or both.
    """

    rgb: Picture
    reply: StylizedFrame

    def with_map(self, affine_map: AffineMap) -> KeyFrameResult:
        """Return the same key frame with another map, which alone is its style then."""
        return KeyFrameResult(self.rgb, StylizedFrame(None, affine_map))


class Interpolator(Protocol):
    """Makes the frames of one segment after the other: from a key frame up to the next."""

    def begin(self, past: KeyFrameResult, following: KeyFrameResult | None) -> Picture:
        """Take the key frames around a segment.

        Args:
            past: The key frame that the segment starts with.
            following: The next one, or None when a cut or the end of the video lies between.

        Returns:
            The finished picture of `past`, uint8 RGB (H, W, 3).
        """
        ...

    def between(self, frame: Picture, past: Motion, following: Motion | None, position: float) -> Picture:
        """Make one intermediate frame.

        Args:
            frame: The frame as filmed, uint8 RGB (H, W, 3).
            past: Its motion relative to the key frame before.
            following: That relative to the next one; None when `begin` was given none.
            position: Where it lies in time from one key frame (0) to the next (1).

        Returns:
            uint8 RGB (H, W, 3).
        """
        ...


class WarpInterpolator:
    """Moves the pixels of the stylized key frames (the paper's Eq. 1).

    Args:
        warp_before: Kernel for the key frame before.
        warp_after: Another instance, for the key frame behind.
        transfer: Kernel that makes the image of a key frame whose reply is a map.
        strength: 0 (the original) to 1 (the full style); blended with the frame's own pixels.
    """

    def __init__(
        self,
        warp_before: Warp,
        warp_after: Warp,
        transfer: Transfer,
        *,
        strength: float = 1.0,
    ) -> None:
        self._before, self._after = warp_before, warp_after
        self._transfer = transfer
        self._strength = strength
        self._loaded: KeyFrameResult | None = None  # what self._after holds
        self._image: Picture | None = None

    def begin(self, past: KeyFrameResult, following: KeyFrameResult | None) -> Picture:
        """See `Interpolator.begin`."""
        if past is self._loaded and self._image is not None:
            self._before, self._after = self._after, self._before
            image = self._image
        else:
            image = self._styled(past)
            self._before.set_key(image)
        self._loaded = following
        if following is not None:
            self._image = self._styled(following)
            self._after.set_key(self._image)
        return blended(past.rgb, image, self._strength)

    def between(self, frame: Picture, past: Motion, following: Motion | None, position: float) -> Picture:
        """See `Interpolator.between`."""
        height, width = frame.shape[:2]
        image = self._before(past.flow_on(height, width))
        if self._loaded is not None and following is not None:
            other = self._after(following.flow_on(height, width))
            share = _share_of_past(past.visible, following.visible, position)
            share = np.asarray(cv2.resize(share, (width, height)), np.float32)
            image = np.asarray(cv2.blendLinear(image, other, share, 1 - share), np.uint8)
        return blended(frame, image, self._strength)

    def _styled(self, key: KeyFrameResult) -> Picture:
        if key.reply.image is not None:
            return key.reply.image
        return self._transfer(key.rgb, _map_of(key))


class TransferInterpolator:
    """Moves the affine colour maps of the key frames and applies them to the frame itself.

    Detail, edges and what comes into view are then the frame's own: nothing tears and nothing ghosts. Key
    frames are made from their maps in the same way, so that they do not stand out from their neighbours.

    Args:
        transfer: The kernel that applies a map.
        strength: 0 (the original) to 1 (the full style); blended on the maps.
    """

    def __init__(self, transfer: Transfer, *, strength: float = 1.0) -> None:
        self._transfer = transfer
        self._strength = strength
        self._past: NDArray[np.float32] | None = None
        self._following: NDArray[np.float32] | None = None

    def begin(self, past: KeyFrameResult, following: KeyFrameResult | None) -> Picture:
        """See `Interpolator.begin`."""
        self._past = weakened(_map_of(past), self._strength)
        self._following = None
        if following is not None:
            behind = on_grid(_map_of(following), *self._past.shape[:2])
            self._following = weakened(behind, self._strength)
        return self._transfer(past.rgb, self._past)

    def between(self, frame: Picture, past: Motion, following: Motion | None, position: float) -> Picture:
        """See `Interpolator.between`."""
        if self._past is None:
            raise ValueError("between before begin")
        affine_map = moved(self._past, past)
        if self._following is not None and following is not None:
            rows, columns = affine_map.shape[:2]
            visible = past.visible_on(rows, columns), following.visible_on(rows, columns)
            share = _share_of_past(*visible, position)[..., None, None]
            affine_map = share * affine_map + (1 - share) * moved(self._following, following)
        return self._transfer(frame, np.asarray(affine_map, np.float32))


def blended(original: Picture, styled: Picture, strength: float) -> Picture:
    """Blend two pictures pixel by pixel: (1 - s)·original + s·styled, uint8 RGB (H, W, 3)."""
    if strength == 1.0:
        return styled
    return np.asarray(cv2.addWeighted(original, 1 - strength, styled, strength, 0), np.uint8)


def _map_of(key: KeyFrameResult) -> NDArray[np.float32]:
    if key.reply.affine_map is None:
        raise ValueError("this interpolation needs affine maps: ask the stylizer for reply='map'")
    return key.reply.affine_map


def _share_of_past(
    past: NDArray[np.float32], following: NDArray[np.float32], position: float
) -> NDArray[np.float32]:
    """Weigh both sides by time and visibility; the weights of a place add up to 1."""
    before = (1 - position) * (past + HIDDEN_ON_BOTH_SIDES)
    behind = position * (following + HIDDEN_ON_BOTH_SIDES)
    return np.asarray(before / (before + behind), np.float32)
