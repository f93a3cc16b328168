"""Interpolate intermediate frames on the device from the stylized key frames on both sides.

Both interpolators follow Algorithm 1 of the paper, corrected and extended. Its ``else q = q + 1`` branch
advances to the next key frame without making the current frame, which drops it; here every frame between two
key frames, or after the last one of its scene, is made. The paper uses the previous key frame only; here both
sides are blended, weighted by distance in time and by visibility.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from device_runtime.interpolation.grid import moved, on_grid, weakened
from device_runtime.interpolation.moving import MovingPicture, blended_pictures, mixed
from device_runtime.kernels import Transfer, Warp
from device_runtime.media.planes import Picture, Planes
from device_runtime.motion.flow import Motion
from mvstylizer.stylizer import BilateralGrid, StylizedFrame

MIN_VISIBILITY: Final = (
    1e-3  # keeps weights positive where a place is hidden on both sides: time decides there
)


@dataclass(frozen=True)
class KeyFrameResult:
    """A key frame and its stylized version.

    Attributes:
        picture: The key frame.
        reply: Its stylized image of the same size, its map, or both.
    """

    picture: Picture
    reply: StylizedFrame

    def with_map(self, grid: BilateralGrid) -> KeyFrameResult:
        """Return the same key frame with another map and without an image."""
        return KeyFrameResult(self.picture, StylizedFrame(None, grid))


class Interpolator(Protocol):
    """Makes the frames of consecutive segments, each from one key frame to the next."""

    def begin(self, past: KeyFrameResult, following: KeyFrameResult | None) -> Picture:
        """Start a segment.

        Args:
            past: The key frame at its start.
            following: The next key frame, or None if a cut or the end of the video comes first.

        Returns:
            The finished picture of `past`, in planes only if `past` is.
        """
        ...

    def between(self, frame: Picture, past: Motion, following: Motion | None, position: float) -> Picture:
        """Make one intermediate frame.

        Args:
            frame: The frame as filmed.
            past: Its motion relative to the previous key frame.
            following: Its motion relative to the next key frame, if there is one.
            position: Position in time between the previous (0) and the next key frame (1).

        Returns:
            The picture, in planes only if `frame` is.
        """
        ...


class WarpInterpolator:
    """Warps the pixels of the stylized key frames (the paper's Eq. 1).

    Args:
        warp_before: Kernel for the previous key frame.
        warp_after: Another instance, for the next key frame.
        transfer: Kernel that makes the image of a key frame from its map.
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
        self._before, self._after = MovingPicture(warp_before), MovingPicture(warp_after)
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
        return blended_pictures(past.picture, image, self._strength)

    def between(self, frame: Picture, past: Motion, following: Motion | None, position: float) -> Picture:
        """See `Interpolator.between`."""
        height, width = frame.shape[:2]
        image = self._before(past.flow_on(height, width))
        if self._loaded is not None and following is not None:
            other = self._after(following.flow_on(height, width))
            image = mixed(image, other, _share_of_past(past.visible, following.visible, position))
        return blended_pictures(frame, image, self._strength)

    def _styled(self, key: KeyFrameResult) -> Picture:
        image = key.reply.image
        if image is None:
            return transferred(self._transfer, key.picture, _map_of(key))
        return key.picture.like(image) if isinstance(key.picture, Planes) else image


class TransferInterpolator:
    """Warps the maps of the key frames and applies them to the frame itself.

    Detail, edges and new objects come from the frame itself, so there is no tearing or ghosting. Key frames
    are also made from their maps, so that they do not stand out from their neighbors.

    Args:
        transfer: Kernel that applies a map.
        strength: 0 (the original) to 1 (the full style); blended on the maps.
    """

    def __init__(self, transfer: Transfer, *, strength: float = 1.0) -> None:
        self._transfer = transfer
        self._strength = strength
        self._past: BilateralGrid | None = None
        self._following: BilateralGrid | None = None

    def begin(self, past: KeyFrameResult, following: KeyFrameResult | None) -> Picture:
        """See `Interpolator.begin`."""
        self._past = weakened(_map_of(past), self._strength)
        self._following = None
        if following is not None:
            next_map = on_grid(_map_of(following), *self._past.shape[:3])
            self._following = weakened(next_map, self._strength)
        return transferred(self._transfer, past.picture, self._past)

    def between(self, frame: Picture, past: Motion, following: Motion | None, position: float) -> Picture:
        """See `Interpolator.between`."""
        if self._past is None:
            raise ValueError("call begin before between")
        grid = moved(self._past, past)
        if self._following is not None and following is not None:
            rows, columns = grid.shape[:2]
            visible = past.visible_on(rows, columns), following.visible_on(rows, columns)
            share = _share_of_past(*visible, position)[..., None, None, None]
            grid = share * grid + (1 - share) * moved(self._following, following)
        return transferred(self._transfer, frame, np.asarray(grid, np.float32))


def transferred(transfer: Transfer, picture: Picture, grid: BilateralGrid) -> Picture:
    """Apply a map to a picture, in RGB or in planes, whichever it has."""
    if isinstance(picture, Planes):
        return Planes(transfer.yuv(picture.planes, grid, picture.codes), picture.color)
    return transfer(picture, grid)


def _map_of(key: KeyFrameResult) -> BilateralGrid:
    if key.reply.grid is None:
        raise ValueError("this interpolation needs maps: request reply='map' from the stylizer")
    return key.reply.grid


def _share_of_past(
    past: NDArray[np.float32], following: NDArray[np.float32], position: float
) -> NDArray[np.float32]:
    """Return the weight of the previous key frame by time and visibility; the next one has the remainder."""
    before = (1 - position) * (past + MIN_VISIBILITY)
    after = position * (following + MIN_VISIBILITY)
    return np.asarray(before / (before + after), np.float32)
