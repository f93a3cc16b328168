"""Divide a frame into tiles for ``transfer.tflite`` and run the kernel on them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from device_runtime.kernels.interpreter import KernelInterpreter, KernelPool

MAX_TILE: Final = 128  # pixels a side: the planes of a tile fit a core's L2 cache
MIN_WIDTH: Final = 16  # pixels: narrower tiles cost more than they save in columns of cells
TILE_COST: Final = 3000  # pixels: what a tile costs beyond its own
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


class TiledTransfer:
    """Runs the kernel over planes of one kind: the same number of outputs, sizes that rarely change.

    Args:
        path: ``transfer.tflite``.
        threads: Number of interpreters and threads; defaults to one per core, at most 4.

    Raises:
        KernelError: The file cannot be loaded.
    """

    def __init__(self, path: Path | str, threads: int | None = None) -> None:
        self.pool = KernelPool(path, threads)
        self._sizes: tuple[int, ...] = ()
        self._rows: list[_Part] = []
        self._columns: list[_Part] = []

    @property
    def tiles(self) -> int:
        """Number of tiles of the last frame."""
        return len(self._rows) * len(self._columns)

    def __call__(
        self,
        planes: Sequence[NDArray[np.uint8]],
        coefficients: NDArray[np.float32],
        guide: NDArray[np.float64],
        out: Sequence[NDArray[np.uint8]],
    ) -> None:
        """Compute output planes.

        Args:
            planes: Three planes, uint8 (H, W) each.
            coefficients: float32 (rows, columns, bins, outputs, 4): factors of the planes, and the bias.
            guide: Luma in 0..1 as factors of the planes and of 1, float64 (4,).
            out: Receives the output planes, uint8 (H, W) each.

        Raises:
            KernelError: The kernel rejects the shapes.
        """
        self._plan((*planes[0].shape, *coefficients.shape[:4]))
        bins = coefficients.shape[2]
        weights = np.array([*((bins - 1) * guide), bins - 1], np.float32).reshape(5, 1, 1, 1)
        for interpreter in self.pool.interpreters:
            interpreter.tensor("guide")[:] = weights
        cells = _by_row(coefficients)
        tiles = [(row, column) for row in self._rows for column in self._columns]
        self.pool.run(tiles, lambda kernel, tile: _transfer_tile(kernel, *tile, planes, cells, out))

    def _plan(self, sizes: tuple[int, ...]) -> None:
        if sizes == self._sizes:
            return
        height, width, rows, columns, bins, outputs = sizes
        self._sizes = ()  # stays empty if a kernel rejects the shapes
        self._rows = _row_parts(height, rows)
        tile_height = self._rows[0].weights.shape[1]
        self._columns = _column_parts(width, columns, tile_height)
        span, tile_width = self._columns[0].weights.shape
        shapes = {
            "frame": (3, tile_height, 1, tile_width),
            "cells": (outputs, 2, bins, 4 * span),
            "rows": (1, tile_height, 1, 1),
            "columns": (1, 1, span, tile_width),
            "guide": (5, 1, 1, 1),
            "bins": (1, 1, bins, 1),
        }
        for interpreter in self.pool.interpreters:
            interpreter.resize(shapes)
            interpreter.put("bins", np.arange(bins, dtype=np.float32).reshape(1, 1, bins, 1))
        self._sizes = sizes


def _by_row(coefficients: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the kernel's ``cells`` for each pair of rows, float32 (pairs, outputs, 2, bins, 4, columns).

    A single row is both of its pair.
    """
    if len(coefficients) == 1:
        coefficients = np.repeat(coefficients, 2, 0)
    pairs = np.stack([coefficients[:-1], coefficients[1:]], 1)  # (pairs, 2, columns, bins, outputs, 4)
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
        return len(starts(size)) * _cost(size * tile_height, span(size))

    size = min(range(min(length, 2 * MAX_TILE), min(length, MIN_WIDTH) - 1, -1), key=cost)
    between = _row_parts(length, cells)
    if cells > 1 and len(between) * _cost(between[0].weights.shape[1] * tile_height, 2) < cost(size):
        return between
    most = min(span(size), cells)
    return [_part(place, at, size, min(int(place[at]), cells - most), most) for at in starts(size)]


def _cost(pixels: int, columns: int) -> float:
    """Return what a tile costs that reads so many columns of cells."""
    return (pixels + TILE_COST) * (columns + FIXED_COST)


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
    planes: Sequence[NDArray[np.uint8]],
    cells: NDArray[np.float32],
    out: Sequence[NDArray[np.uint8]],
) -> None:
    frame, into = kernel.tensor("frame"), kernel.tensor("cells")
    for number, plane in enumerate(planes):
        frame[number, :, 0] = plane[row.pixels, column.pixels]
    into.reshape(*into.shape[:3], 4, -1)[:] = cells[row.cells.start][..., column.cells]
    kernel.tensor("rows")[0, :, 0, 0] = row.weights[1]
    kernel.tensor("columns")[0, 0] = column.weights
    kernel.invoke()
    for plane, styled in zip(out, kernel.tensor("styled"), strict=True):
        plane[row.pixels, column.pixels] = styled[:, 0]
