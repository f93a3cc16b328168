"""``transfer.tflite`` over whole frames: applies a bilateral grid of affine color transforms to a frame."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from device_runtime.interpolation.grid import LUMA
from device_runtime.kernels.interpreter import (
    KernelError,
    KernelInterpreter,
    KernelPool,
    check_finite,
    check_image,
)
from mvstylizer.stylizer import BilateralGrid

MAX_TILE: Final = 128  # pixels a side: the planes of a tile fit a core's L2 cache
TILE_COST: Final = 1800  # pixels: what a tile costs beyond its own
FIXED_COST: Final = 2.5  # columns: what a pixel costs beyond the columns of cells that its tile reads


class _Part(NamedTuple):
    """Part of one axis of the frame.

    Attributes:
        pixels: Its pixels.
        cells: The cells that they read.
        weights: Linear weights, float32 (cells, pixels).
    """

    pixels: slice
    cells: slice
    weights: NDArray[np.float32]


class Transfer:
    """Applies bilateral grids to frames. Not thread-safe; frame and grid may change size between calls.

    Args:
        path: ``transfer.tflite``.
        threads: Number of interpreters and threads; defaults to one per core, at most 4.

    Raises:
        KernelError: The file cannot be loaded.
    """

    def __init__(self, path: Path | str, *, threads: int | None = None) -> None:
        self._pool = KernelPool(path, threads)
        self._sizes: tuple[int, ...] = ()
        self._rows: list[_Part] = []
        self._columns: list[_Part] = []

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
        if grid.dtype != np.float32 or grid.shape[3:] != (3, 4) or 0 in grid.shape:
            raise KernelError(f"Map is {grid.dtype} {grid.shape}, not float32 (rows, columns, bins, 3, 4)")
        check_finite(grid, "Map")
        self._plan((*frame.shape[:2], *grid.shape[:3]))
        cells = _by_row(grid)
        planes = np.empty((3, *frame.shape[:2]), np.uint8)
        cv2.split(frame, tuple(planes))
        out = np.empty_like(planes)
        tiles = [(row, column) for row in self._rows for column in self._columns]
        self._pool.run(tiles, lambda kernel, tile: _transfer_tile(kernel, *tile, planes, cells, out))
        return np.asarray(cv2.merge(tuple(out)), np.uint8)

    @property
    def last(self) -> KernelInterpreter:
        """The first interpreter, with the inputs and outputs of its last tile."""
        return self._pool.interpreters[0]

    @property
    def tiles(self) -> int:
        """Number of tiles of the last frame."""
        return len(self._rows) * len(self._columns)

    def close(self) -> None:
        """Stop the threads."""
        self._pool.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the threads."""
        self.close()

    def _plan(self, sizes: tuple[int, ...]) -> None:
        if sizes == self._sizes:
            return
        height, width, rows, columns, bins = sizes
        self._sizes = ()  # stays empty if a kernel rejects the shapes
        self._rows = _row_parts(height, rows)
        tile_height = self._rows[0].weights.shape[1]
        self._columns = _column_parts(width, columns, tile_height)
        span, tile_width = self._columns[0].weights.shape
        shapes = {
            "frame": (3, tile_height, 1, tile_width),
            "cells": (3, 2, bins, 4 * span),
            "rows": (1, tile_height, 1, 1),
            "columns": (1, 1, span, tile_width),
            "guide": (5, 1, 1, 1),
            "bins": (1, 1, bins, 1),
        }
        guide = np.array([*((bins - 1) / 255 * LUMA), 0, bins - 1], np.float32)
        for interpreter in self._pool.interpreters:
            interpreter.resize(shapes)
            interpreter.put("guide", guide.reshape(5, 1, 1, 1))
            interpreter.put("bins", np.arange(bins, dtype=np.float32).reshape(1, 1, bins, 1))
        self._sizes = sizes


def _by_row(grid: BilateralGrid) -> NDArray[np.float32]:
    """Return the kernel's ``cells`` for each pair of rows, float32 (pairs, 3, 2, bins, 4, columns).

    A single row is both of its pair.
    """
    scaled = grid * np.array([1, 1, 1, 255], np.float32)
    if len(scaled) == 1:
        scaled = np.repeat(scaled, 2, 0)
    pairs = np.stack([scaled[:-1], scaled[1:]], 1)  # (pairs, 2, columns, bins, 3, 4)
    return np.ascontiguousarray(pairs.transpose(0, 4, 1, 3, 5, 2))


def _row_parts(length: int, cells: int) -> list[_Part]:
    """Divide the rows into parts of equal height, each between the centers of two neighboring cells."""
    place = _places(length, cells)
    cell = np.minimum(place.astype(np.int64), max(0, cells - 2))
    edges = [0, *(np.flatnonzero(np.diff(cell)) + 1).tolist(), length]
    spans = list(pairwise(edges))

    def cost(size: int) -> int:
        return sum(-(-(last - first) // size) for first, last in spans) * (size + TILE_COST // MAX_TILE)

    size = min(range(min(MAX_TILE, *(last - first for first, last in spans)), 0, -1), key=cost)
    # The last part of a span starts early enough to have full size; where parts overlap, both results agree.
    starts = [min(start, last - size) for first, last in spans for start in range(first, last, size)]
    return [_part(place, start, size, int(cell[start]), 2) for start in starts]


def _column_parts(length: int, cells: int, tile_height: int) -> list[_Part]:
    """Divide the columns into parts of equal width, as wide as costs least for tiles of this height."""
    place = _places(length, cells)

    def starts(size: int) -> list[int]:
        return [min(start, length - size) for start in range(0, length, size)]

    def span(size: int) -> int:
        """Return the number of cells that a part of this size reads at most."""
        return max(int(np.ceil(place[at + size - 1])) - int(place[at]) + 1 for at in starts(size))

    def cost(size: int) -> float:
        return len(starts(size)) * (size * tile_height + TILE_COST) * (span(size) + FIXED_COST)

    size = min(range(min(length, 2 * MAX_TILE), 0, -1), key=cost)
    most = min(span(size), cells)
    return [_part(place, at, size, min(int(place[at]), cells - most), most) for at in starts(size)]


def _places(length: int, cells: int) -> NDArray[np.float64]:
    """Return the place of each pixel among the cells' centers: half-pixel centers, edges clamped."""
    return np.clip((np.arange(length) + 0.5) * cells / length - 0.5, 0, cells - 1)


def _part(place: NDArray[np.float64], start: int, size: int, cell: int, cells: int) -> _Part:
    own = place[start : start + size]
    weights = np.maximum(0, 1 - np.abs(own - np.arange(cell, cell + cells)[:, None]))
    return _Part(slice(start, start + size), slice(cell, cell + cells), weights.astype(np.float32))


def _transfer_tile(
    kernel: KernelInterpreter,
    row: _Part,
    column: _Part,
    planes: NDArray[np.uint8],
    cells: NDArray[np.float32],
    out: NDArray[np.uint8],
) -> None:
    kernel.tensor("frame")[:, :, 0] = planes[:, row.pixels, column.pixels]
    into = kernel.tensor("cells")
    into.reshape(*into.shape[:3], 4, -1)[:] = cells[row.cells.start][..., column.cells]
    kernel.tensor("rows")[0, :, 0, 0] = row.weights[1]
    kernel.tensor("columns")[0, 0] = column.weights
    kernel.invoke()
    out[:, row.pixels, column.pixels] = kernel.tensor("styled")[:, :, 0]
