"""Warp and blend whole pictures, in RGB or in planes."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from device_runtime.kernels import Warp
from device_runtime.kernels.transfer_tiles import Plane
from device_runtime.media.planes import Picture, Planes, in_rgb
from device_runtime.motion.flow import sample

Operation = Callable[[Plane, Plane], Plane]


class MovingPicture:
    """Warps one picture by many flows.

    RGB and planes of 8 bits go through ``warp.tflite``, which moves three channels of bytes at once: chroma
    is enlarged to the size of luma for that. Planes of 10 bits are moved one by one in float, each at its own
    size.

    Args:
        warp: The kernel.
    """

    def __init__(self, warp: Warp) -> None:
        self._warp = warp
        self._key: Picture | None = None

    def set_key(self, picture: Picture) -> None:
        """Set the picture that the following flows move."""
        self._key = picture
        if not isinstance(picture, Planes):
            self._warp.set_key(picture)
        elif picture.bits == 8:
            size = picture.luma.shape[::-1]
            chroma = [_resized(plane, size, cv2.INTER_LINEAR) for plane in picture.planes[1:]]
            self._warp.set_key(np.asarray(cv2.merge([picture.luma, *chroma]), np.uint8))

    def __call__(self, flow: NDArray[np.float32]) -> Picture:
        """Return ``out[y, x] = key[y + dy, x + dx]``, in planes if the picture is.

        Args:
            flow: Backward flow, float32 (H, W, 2), (dx, dy) in pixels.
        """
        key = self._key
        if not isinstance(key, Planes):
            return self._warp(flow)
        if key.bits == 8:
            y, u, v = cv2.split(self._warp(flow))
            small = key.planes[1].shape[::-1]
            chroma = [_resized(plane, small, cv2.INTER_AREA) for plane in (u, v)]
            return Planes((np.asarray(y), chroma[0], chroma[1]), key.color)
        y, u, v = (_moved(plane, flow) for plane in key.planes)
        return Planes((y, u, v), key.color)


def mixed(one: Picture, other: Picture, share: NDArray[np.float32]) -> Picture:
    """Mix two pictures of one kind: share·one + (1 - share)·other.

    Args:
        one: A picture.
        other: Another one of the same size.
        share: float32, on any grid over the pictures.
    """

    def mix(first: Plane, second: Plane) -> Plane:
        weight = np.asarray(cv2.resize(share, first.shape[1::-1]), np.float32)
        if first.dtype == np.uint8:
            return np.asarray(cv2.blendLinear(first, second, weight, 1 - weight), np.uint8)
        floats = first.astype(np.float32), second.astype(np.float32)
        return _rounded(cv2.blendLinear(*floats, weight, 1 - weight), first.dtype)

    return _by_plane(one, other, mix)


def blended_pictures(original: Picture, styled: Picture, strength: float) -> Picture:
    """Blend two pictures pixel by pixel, as `blended` does, in planes if both are."""
    if strength == 1.0:
        return styled
    return _by_plane(original, styled, lambda first, second: blended(first, second, strength))


def blended(original: Plane, styled: Plane, strength: float) -> Plane:
    """Blend two arrays of one type and shape: (1 - s)·original + s·styled, rounded."""
    if strength == 1.0:
        return styled
    return np.asarray(cv2.addWeighted(original, 1 - strength, styled, strength, 0), original.dtype)


def _by_plane(one: Picture, other: Picture, do: Operation) -> Picture:
    if isinstance(one, Planes) and isinstance(other, Planes):
        y, u, v = (do(first, second) for first, second in zip(one.planes, other.planes, strict=True))
        return Planes((y, u, v), one.color)
    return do(in_rgb(one), in_rgb(other))


def _moved(plane: Plane, flow: NDArray[np.float32]) -> Plane:
    height, width = plane.shape
    units = np.array([width / flow.shape[1], height / flow.shape[0]], np.float32)
    own = np.asarray(_resized(flow, (width, height), cv2.INTER_AREA) * units, np.float32)
    return _rounded(sample(plane.astype(np.float32), own), plane.dtype)


def _resized(plane: Plane, size: tuple[int, ...], interpolation: int) -> Plane:
    if plane.shape[1::-1] == size:
        return plane
    return np.asarray(cv2.resize(plane, size, interpolation=interpolation), plane.dtype)


def _rounded(plane: Plane, dtype: np.dtype[np.generic]) -> Plane:
    return np.rint(plane).astype(dtype)
