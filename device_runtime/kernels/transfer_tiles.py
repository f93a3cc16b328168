"""Divide a frame into tiles for ``transfer.tflite`` and run the kernel on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from device_runtime.kernels.interpreter import KernelInterpreter, KernelPool, balanced

# The planes of a tile of this size fit a core's L2 cache; small tiles read few cells and touch few bins.
TILE_PIXELS: Final = 12_288
TILE_WIDTH: Final = 96
Plane = NDArray[Any]
"""A plane of codes, (H, W): uint8, or 10 bits in uint16."""

NO_LUMA: Final = 1e-3  # bins: a plane that moves luma less does not count


class _Part(NamedTuple):
    """Part of one axis of the frame.

    Attributes:
        pixels: Its pixels.
        cells: The cells that they read.
        weights: Linear weights, float32 (pixels, cells).
    """

    pixels: slice
    cells: slice
    weights: NDArray[np.float32]


class _Tile(NamedTuple):
    """A tile, and the bins that its luma touches."""

    row: _Part
    column: _Part
    bins: slice

    @property
    def depth(self) -> int:
        """Number of bins."""
        return int(self.bins.stop - self.bins.start)


class TiledTransfer:
    """Runs the kernel over planes of one kind: same type and number of outputs, sizes that rarely change.

    A tile is computed with the bins that its luma touches, often half of all. Each number of bins has
    interpreters of its own, because resizing one costs more than a tile.

    Attributes:
        last: The interpreter of the last tile, with its inputs and outputs.

    Args:
        path: ``transfer.tflite``.
        threads: Number of interpreters and threads; defaults to one per core, at most 4.
        highest: The largest code of the planes: 255 for uint8, 1023 for 10 bits in uint16.

    Raises:
        KernelError: The file cannot be loaded.
    """

    def __init__(self, path: Path | str, threads: int | None = None, *, highest: int = 255) -> None:
        self._path, self._highest = path, highest
        self._pool = KernelPool(path, threads, in_float=highest > 255)
        self.last = self._pool.interpreters[0]
        self._variants: dict[tuple[KernelInterpreter, int], KernelInterpreter] = {}
        self._sizes: tuple[int, ...] = ()
        self._rows: list[_Part] = []
        self._columns: list[_Part] = []

    @property
    def tiles(self) -> int:
        """Number of tiles of the last frame."""
        return len(self._rows) * len(self._columns)

    def close(self) -> None:
        """Stop the threads."""
        self._pool.close()

    def __call__(
        self,
        planes: Sequence[Plane],
        coefficients: NDArray[np.float32],
        guide: NDArray[np.float64],
        out: Sequence[Plane],
    ) -> None:
        """Compute output planes.

        Args:
            planes: Three planes, uint8 or uint16 (H, W) each.
            coefficients: float32 (rows, columns, bins, outputs, 4): factors of the planes, and the bias.
            guide: Luma in 0..1 as factors of the planes and of 1, float64 (4,).
            out: Receives the output planes, of the type of `planes`, (H, W) each.

        Raises:
            KernelError: The kernel rejects the shapes.
        """
        self._plan((*planes[0].shape, *coefficients.shape[:4]))
        in_bins = (coefficients.shape[2] - 1) * guide
        weights = np.array([*in_bins, coefficients.shape[2] - 1], np.float32)
        cells = np.ascontiguousarray(coefficients.transpose(4, 3, 2, 0, 1))

        def do(kernel: KernelInterpreter, tile: _Tile) -> None:
            own = self._with_bins(kernel, tile.depth)
            _transfer_tile(own, tile, planes, cells, weights, out, self._highest)
            self.last = own

        def tile(row: _Part, column: _Part) -> _Tile:
            own = [plane[row.pixels, column.pixels] for plane in planes]
            return _Tile(row, column, _touched(own, in_bins, coefficients.shape[2], self._highest))

        tiles = [tile(row, column) for row in self._rows for column in self._columns]
        # In order of the number of bins: switching interpreters costs what is in the cache.
        self._pool.run(sorted(tiles, key=lambda each: each.depth), do)

    def _plan(self, sizes: tuple[int, ...]) -> None:
        if sizes == self._sizes:
            return
        height, width, rows, columns, *_ = sizes
        tile_width = balanced(width, TILE_WIDTH)
        tile_height = balanced(height, TILE_PIXELS // tile_width)
        self._rows = _parts(height, rows, tile_height)
        self._columns = _parts(width, columns, tile_width)
        self._variants.clear()
        self._sizes = sizes

    def _with_bins(self, kernel: KernelInterpreter, bins: int) -> KernelInterpreter:
        """Return the interpreter of one thread, known by its own, for a number of bins."""
        if (kernel, bins) not in self._variants:
            rows, columns = self._rows[0].weights.shape, self._columns[0].weights.shape
            variant = KernelInterpreter(self._path, in_float=self._highest > 255)
            variant.resize(
                {
                    "frame": (1, 3, rows[0], columns[0]),
                    "cells": (4 * self._sizes[-1], bins, rows[1], columns[1]),
                    "rows": (1, 1, *rows),
                    "columns": (1, 1, *columns[::-1]),
                    "guide": (5, 1, 1, 1),
                    "bins": (1, bins, 1, 1),
                }
            )
            self._variants[kernel, bins] = variant
        return self._variants[kernel, bins]


def _touched(planes: Sequence[Plane], in_bins: NDArray[np.float64], bins: int, highest: int) -> slice:
    """Return the bins that the luma of a tile can touch, from the range of each plane."""
    low = high = float(in_bins[3])
    for plane, factor in zip(planes, in_bins[:3].tolist(), strict=True):
        least, most = 0.0, float(highest)
        if abs(factor) * highest > NO_LUMA:
            least, most, *_ = cv2.minMaxLoc(plane)
        low += min(factor * least, factor * most)
        high += max(factor * least, factor * most)
    first, last = (min(max(place, 0.0), bins - 1.0) for place in (low - NO_LUMA, high + NO_LUMA))
    return slice(math.floor(first), math.ceil(last) + 1)


def _parts(length: int, cells: int, size: int) -> list[_Part]:
    """Divide an axis into parts of equal size that read equally many cells."""
    place = np.clip((np.arange(length) + 0.5) * cells / length - 0.5, 0, cells - 1)
    # The last part starts early enough to have full size; where it overlaps its neighbor, both results agree.
    starts = [min(start, length - size) for start in range(0, length, size)]
    span = max(math.ceil(place[start + size - 1]) - int(place[start]) + 1 for start in starts)
    parts = []
    for start in starts:
        first = min(int(place[start]), cells - span)
        near = place[start : start + size, None] - np.arange(first, first + span)
        weights = np.maximum(0, 1 - np.abs(near)).astype(np.float32)
        parts.append(_Part(slice(start, start + size), slice(first, first + span), weights))
    return parts


def _transfer_tile(
    kernel: KernelInterpreter,
    tile: _Tile,
    planes: Sequence[Plane],
    cells: NDArray[np.float32],
    guide: NDArray[np.float32],
    out: Sequence[Plane],
    highest: int,
) -> None:
    row, column, bins = tile
    for into, plane in zip(kernel.tensor("frame")[0], planes, strict=True):
        into[:] = plane[row.pixels, column.pixels]
    own = cells[:, :, bins, row.cells, column.cells]
    kernel.tensor("cells").reshape(own.shape)[:] = own
    kernel.tensor("rows")[0, 0] = row.weights
    kernel.tensor("columns")[0, 0] = column.weights.T
    kernel.tensor("guide")[:, 0, 0, 0] = guide
    kernel.tensor("bins")[0, :, 0, 0] = np.arange(bins.start, bins.stop)
    kernel.invoke()
    for plane, styled in zip(out, kernel.tensor("styled")[:, 0], strict=True):
        if highest > 255:  # the kernel for bytes rounds and saturates by itself
            styled = np.clip(np.rint(styled), 0, highest)
        plane[row.pixels, column.pixels] = styled
