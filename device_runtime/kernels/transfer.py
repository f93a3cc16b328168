"""``transfer.tflite`` over whole frames: applies a bilateral grid of affine color transforms to a frame."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from device_runtime.kernels.interpreter import KernelError, KernelInterpreter, check_finite, check_image
from device_runtime.kernels.transfer_tiles import TiledTransfer
from mvstylizer.stylizer import GUIDE, BilateralGrid

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
        self._luma: TiledTransfer | None = None
        self._chroma: TiledTransfer | None = None

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

    def yuv420(
        self, i420: NDArray[np.uint8], grid: BilateralGrid, codes: NDArray[np.float64]
    ) -> NDArray[np.uint8]:
        """Do the same to a picture in Y'CbCr 4:2:0, without converting it to RGB.

        The transforms are converted instead, once per cell. Luma is computed at every pixel, from the chroma
        enlarged to its size, and chroma at its own size, from the mean luma of the pixels that it covers.
        Colors outside RGB are left to the player, which clips them.

        Args:
            i420: uint8 (3·H/2, W): the H rows of Y', then Cb and Cr; H and W are even.
            grid: float32 (rows, columns, bins, 3, 4); see `BilateralGrid`.
            codes: float64 (4, 4), from R', G', B' in the unit range and 1 to Y', Cb, Cr in codes and 1.

        Returns:
            uint8 (3·H/2, W).

        Raises:
            KernelError: The picture has the wrong dtype or shape, or see `__call__`.
        """
        if i420.dtype != np.uint8 or i420.ndim != 2 or len(i420) % 3 or i420.shape[1] % 2:
            raise KernelError(f"Frame is {i420.dtype} {i420.shape}, not uint8 (3·height/2, width), both even")
        _check(grid)
        self._luma = self._luma or TiledTransfer(self._path, self._threads)
        self._chroma = self._chroma or TiledTransfer(self._path, self._threads)
        coefficients, guide = _in_codes(grid, codes)
        y, u, v = split_i420(i420)
        size, half = y.shape[::-1], u.shape[::-1]
        out = np.empty_like(i420)
        styled = split_i420(out)
        large = [
            np.asarray(cv2.resize(each, size, interpolation=cv2.INTER_LINEAR), np.uint8) for each in (u, v)
        ]
        small = np.asarray(cv2.resize(y, half, interpolation=cv2.INTER_AREA), np.uint8)
        self._luma([y, *large], coefficients[..., :1, :], guide, styled[:1])
        self._chroma([small, u, v], coefficients[..., 1:, :], guide, styled[1:])
        return out

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
        for each in (self._rgb, self._luma, self._chroma):
            if each is not None:
                each.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the threads."""
        self.close()


def split_i420(
    i420: NDArray[np.uint8],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Return views of the planes Y' (H, W), Cb and Cr (H/2, W/2) of a picture, uint8 (3·H/2, W)."""
    height, width = len(i420) * 2 // 3, i420.shape[1]
    u, v = i420[height:].reshape(2, height // 2, width // 2)
    return i420[:height], u, v


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
