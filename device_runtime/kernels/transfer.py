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
TILE_COST: Final = 16  # pixels a side: what a tile costs beyond its pixels, as if it were so much larger


class _Part(NamedTuple):
    """Part of one axis of the frame, between the centers of two neighboring cells.

    Attributes:
        pixels: Its pixels.
        cell: The first of the two cells.
        weights: Weight of the second cell for each pixel, float32, 0 to 1.
    """

    pixels: slice
    cell: int
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
        cells = _by_tile(grid)
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
        self._rows, self._columns = _parts(height, rows), _parts(width, columns)
        tile_height, tile_width = len(self._rows[0].weights), len(self._columns[0].weights)
        shapes = {
            "frame": (3, tile_height, 1, tile_width),
            "cells": (3, 2, bins, 8),
            "rows": (1, tile_height, 1, 1),
            "columns": (1, 1, 2, tile_width),
            "guide": (5, 1, 1, 1),
            "bins": (1, 1, bins, 1),
        }
        guide = np.array([*((bins - 1) / 255 * LUMA), 0, bins - 1], np.float32)
        for interpreter in self._pool.interpreters:
            interpreter.resize(shapes)
            interpreter.put("guide", guide.reshape(5, 1, 1, 1))
            interpreter.put("bins", np.arange(bins, dtype=np.float32).reshape(1, 1, bins, 1))
        self._sizes = sizes


def _by_tile(grid: BilateralGrid) -> NDArray[np.float32]:
    """Return the kernel's ``cells`` between each 2 × 2 cells, float32 (rows - 1, columns - 1, 3, 2, bins, 8).

    A single row or column is used on both sides.
    """
    scaled = np.pad(grid, [(0, int(size == 1)) for size in grid.shape[:2]] + [(0, 0)] * 3, "edge")
    scaled = scaled * np.array([1, 1, 1, 255], np.float32)
    sides = np.stack([scaled[:, :-1], scaled[:, 1:]], -1)  # the last axis is left, right
    corners = np.stack([sides[:-1], sides[1:]], 3)  # (rows - 1, columns - 1, bins, 2, 3, 4, 2)
    by_tile = corners.transpose(0, 1, 4, 3, 2, 5, 6)
    return np.ascontiguousarray(by_tile).reshape(*by_tile.shape[:5], 8)


def _parts(length: int, cells: int) -> list[_Part]:
    """Divide an axis into parts of equal size, each between the centers of two neighboring cells."""
    place = (np.arange(length) + 0.5) * cells / length - 0.5
    cell = np.clip(np.floor(place).astype(np.int64), 0, max(0, cells - 2))
    weights = np.clip(place - cell, 0, 1).astype(np.float32)
    edges = [0, *(np.flatnonzero(np.diff(cell)) + 1).tolist(), length]
    spans = list(pairwise(edges))
    size = _part_size([end - start for start, end in spans])
    # The last part of a span starts early enough to have full size; where parts overlap, both results agree.
    starts = [min(start, last - size) for first, last in spans for start in range(first, last, size)]
    return [
        _Part(slice(start, start + size), int(cell[start]), weights[start : start + size]) for start in starts
    ]


def _part_size(spans: list[int]) -> int:
    """Return the size of parts that cover spans of these lengths with the least work."""

    def cost(size: int) -> int:
        return sum(-(-span // size) for span in spans) * (size + TILE_COST)

    return min(range(min(*spans, MAX_TILE), 0, -1), key=cost)


def _transfer_tile(
    kernel: KernelInterpreter,
    row: _Part,
    column: _Part,
    planes: NDArray[np.uint8],
    cells: NDArray[np.float32],
    out: NDArray[np.uint8],
) -> None:
    kernel.tensor("frame")[:, :, 0] = planes[:, row.pixels, column.pixels]
    kernel.tensor("cells")[:] = cells[row.cell, column.cell]
    kernel.tensor("rows")[0, :, 0, 0] = row.weights
    left, right = kernel.tensor("columns")[0, 0]
    left[:], right[:] = 1 - column.weights, column.weights
    kernel.invoke()
    out[:, row.pixels, column.pixels] = kernel.tensor("styled")[:, :, 0]
