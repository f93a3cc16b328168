"""``transfer.tflite`` over whole frames: applies a bilateral grid of affine color transforms to a frame."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from device_runtime.kernels.interpreter import KernelError, KernelInterpreter, check_finite, check_image
from device_runtime.kernels.transfer_tiles import Plane, TiledTransfer
from mvstylizer.stylizer import GUIDE, BilateralGrid

YCbCr = tuple[Plane, Plane, Plane]

GRAY_LEVELS: Final = np.diag([255.0, 255, 255, 1])  # from RGB in the unit range and 1 to bytes and 1


class Transfer:
    """Applies bilateral grids to frames. Not thread-safe; frame and grid may change size between calls.

    Args:
        path: ``transfer.tflite``.
        threads: Number of interpreters and threads; defaults to one per core, at most 4.

    Raises:
        KernelError: The file cannot be loaded.
    """

    def __init__(self, path: Path | str, *, threads: int | None = None) -> None:
        self._path, self._threads = path, threads
        self._rgb = TiledTransfer(path, threads)  # loaded at once, so that a bad file is found early
        self._planar: dict[int, tuple[TiledTransfer, TiledTransfer]] = {}

    def __call__(self, frame: NDArray[np.uint8], grid: BilateralGrid) -> NDArray[np.uint8]:
        """Return A·rgb + b at every pixel, with [A | b] read trilinearly at its place and its luma.

        Args:
            frame: uint8 RGB (H, W, 3).
            grid: float32 (rows, columns, bins, 3, 4); see `BilateralGrid`.

        Returns:
            uint8 RGB (H, W, 3), rounded to nearest and saturated.

        Raises:
            KernelError: An argument has the wrong dtype or shape, or the grid has values that are not finite.
        """
        check_image(frame, "Frame")
        _check(grid)
        planes, out = cv2.split(frame), np.empty((3, *frame.shape[:2]), np.uint8)
        self._rgb(planes, *_in_codes(grid, GRAY_LEVELS), out)  # type: ignore[arg-type]
        return np.asarray(cv2.merge(tuple(out)), np.uint8)

    def yuv(self, planes: YCbCr, grid: BilateralGrid, codes: NDArray[np.float64]) -> YCbCr:
        """Do the same to a picture in Y'CbCr, without converting it to RGB.

        The transforms are converted instead, once per cell. Luma is computed at every pixel, from the chroma
        enlarged to its size, and chroma at its own size, from the mean luma of the pixels that it covers.
        Colors outside RGB are left to the player, which clips them.

        Args:
            planes: Y' (H, W), Cb and Cr (h, w): uint8, or 10 bits in uint16.
            grid: float32 (rows, columns, bins, 3, 4).
            codes: float64 (4, 4), from R', G', B' in the unit range and 1 to Y', Cb, Cr in codes and 1.

        Returns:
            Planes of the same type and sizes.

        Raises:
            KernelError: The planes have the wrong dtype or shape, or see `__call__`.
        """
        _check_planes(planes)
        _check(grid)
        luma, chroma = self._kernels(255 if planes[0].dtype == np.uint8 else 1023)
        coefficients, guide = _in_codes(grid, codes)
        y, u, v = planes
        styled = np.empty_like(y), np.empty_like(u), np.empty_like(v)
        large = [_resized(each, y.shape, cv2.INTER_LINEAR) for each in (u, v)]
        small = _resized(y, u.shape, cv2.INTER_AREA)
        luma([y, *large], coefficients[..., :1, :], guide, styled[:1])
        chroma([small, u, v], coefficients[..., 1:, :], guide, styled[1:])
        return styled

    def _kernels(self, highest: int) -> tuple[TiledTransfer, TiledTransfer]:
        """Return the kernels for the luma and the chroma of planes with a largest code."""
        if highest not in self._planar:
            luma, chroma = (TiledTransfer(self._path, self._threads, highest=highest) for _ in range(2))
            self._planar[highest] = luma, chroma
        return self._planar[highest]

    @property
    def last(self) -> KernelInterpreter:
        """The interpreter of the last RGB tile, with its inputs and outputs."""
        return self._rgb.last

    @property
    def tiles(self) -> int:
        """Number of tiles of the last RGB frame."""
        return self._rgb.tiles

    def close(self) -> None:
        """Stop the threads."""
        for each in (self._rgb, *(kernel for pair in self._planar.values() for kernel in pair)):
            each.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the threads."""
        self.close()


def _resized(plane: Plane, shape: tuple[int, ...], interpolation: int) -> Plane:
    if plane.shape == shape:
        return plane
    return np.asarray(cv2.resize(plane, shape[::-1], interpolation=interpolation), plane.dtype)


def _check_planes(planes: YCbCr) -> None:
    y, u, v = planes
    kinds = {plane.dtype for plane in planes}
    if (
        kinds not in ({np.dtype(np.uint8)}, {np.dtype(np.uint16)})
        or y.ndim != 2
        or u.shape != v.shape
        or u.ndim != 2
        or 0 in (*y.shape, *u.shape)
    ):
        found = ", ".join(f"{plane.dtype} {plane.shape}" for plane in planes)
        raise KernelError(f"Planes are {found}, not uint8 or uint16 (height, width) and twice (h, w)")


def _check(grid: BilateralGrid) -> None:
    if grid.dtype != np.float32 or grid.shape[3:] != (3, 4) or 0 in grid.shape:
        raise KernelError(f"Map is {grid.dtype} {grid.shape}, not float32 (rows, columns, bins, 3, 4)")
    check_finite(grid, "Map")


def _in_codes(
    grid: BilateralGrid, codes: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Convert transforms of R', G', B' to transforms of codes: C·[A | b]·C⁻¹; and luma to factors of codes.

    Args:
        grid: float32 (rows, columns, bins, 3, 4).
        codes: C, float64 (4, 4), from R', G', B' in the unit range and 1 to codes and 1.

    Returns:
        Transforms, float32 (rows, columns, bins, 3, 4), and the factors of the codes and 1, float64 (4,),
        whose sum is BT.709 luma.
    """
    back = np.linalg.inv(codes)
    coefficients = codes[:3, :3] @ (grid @ back)
    coefficients[..., 3] += codes[:3, 3]
    return coefficients.astype(np.float32), np.array(GUIDE) @ back[:3]
