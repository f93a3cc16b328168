"""``transfer.tflite`` over whole frames: applies an affine map on a coarse grid to a frame."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from device_runtime.kernels.interpreter import (
    KernelError,
    KernelInterpreter,
    KernelPool,
    balanced,
    check_finite,
    check_image,
)

# The planes of a tile of this size fit a core's L2 cache; narrow tiles read few grid cells.
TILE_PIXELS = 16_384
TILE_WIDTH = 128


class _Part(NamedTuple):
    """Part of one axis of the frame.

    Attributes:
        pixels: Its pixels.
        cells: The grid cells that they read.
        weights: Weights of these cells, in the kernel's layout: (1, 1, pixels, cells) for rows,
            (1, 1, cells, pixels) for columns.
    """

    pixels: slice
    cells: slice
    weights: NDArray[np.float32]


class Transfer:
    """Applies affine maps to frames. Not thread-safe; frame and grid may change size between calls.

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

    def __call__(self, frame: NDArray[np.uint8], affine_map: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return A·rgb + b at every pixel: bilinear sampling of the map, half-pixel centers, clamped edges.

        Args:
            frame: uint8 RGB (H, W, 3).
            affine_map: float32 (gh, gw, 3, 4), [A | b] per cell for RGB in the unit range; covers the frame.

        Returns:
            uint8 RGB (H, W, 3), rounded to nearest and saturated.

        Raises:
            KernelError: An argument has the wrong dtype or shape, or the map has values that are not finite.
        """
        check_image(frame, "Frame")
        if affine_map.dtype != np.float32 or affine_map.shape[2:] != (3, 4) or 0 in affine_map.shape:
            raise KernelError(f"Map is {affine_map.dtype} {affine_map.shape}, not float32 (gh, gw, 3, 4)")
        check_finite(affine_map, "Map")
        self._plan((*frame.shape[:2], *affine_map.shape[:2]))
        cells = np.ascontiguousarray(affine_map.transpose(3, 2, 0, 1))
        frame = np.ascontiguousarray(frame)
        out = np.empty_like(frame)
        tiles = [(row, column) for row in self._rows for column in self._columns]
        self._pool.run(tiles, lambda kernel, tile: _transfer_tile(kernel, *tile, frame, cells, out))
        return out

    @property
    def last(self) -> KernelInterpreter:
        """The first interpreter, with the inputs and outputs of its last tile."""
        return self._pool.interpreters[0]

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
        height, width, grid_rows, grid_columns = sizes
        tile_width = balanced(width, TILE_WIDTH)
        tile_height = balanced(height, TILE_PIXELS // tile_width)
        self._sizes = ()  # stays empty if a kernel rejects the shapes
        self._rows = _parts(height, grid_rows, tile_height)
        self._columns = [
            part._replace(weights=np.ascontiguousarray(part.weights.swapaxes(2, 3)))
            for part in _parts(width, grid_columns, tile_width)
        ]
        rows, columns = self._rows[0].weights.shape, self._columns[0].weights.shape
        shapes = {
            "frame": (1, 3, tile_height, tile_width),
            "cells": (4, 3, rows[3], columns[2]),
            "rows": rows,
            "columns": columns,
        }
        for interpreter in self._pool.interpreters:
            interpreter.resize(shapes)
        self._sizes = sizes


def _parts(length: int, cells: int, size: int) -> list[_Part]:
    place = (np.arange(length) + 0.5) * cells / length - 0.5
    whole = np.floor(place).astype(np.int64)
    low, high = np.clip(whole, 0, cells - 1), np.clip(whole + 1, 0, cells - 1)
    # The last part starts early enough to have full size; where it overlaps its neighbor, both results agree.
    starts = [min(start, length - size) for start in range(0, length, size)]
    span = max(int(high[start + size - 1] - low[start]) + 1 for start in starts)
    parts = []
    for start in starts:
        inside = slice(start, start + size)
        cell = min(int(low[start]), cells - span)
        fraction = place[inside] - whole[inside]
        weights = np.zeros((size, span), np.float32)
        np.add.at(weights, (np.arange(size), low[inside] - cell), 1 - fraction)
        np.add.at(weights, (np.arange(size), high[inside] - cell), fraction)
        parts.append(_Part(inside, slice(cell, cell + span), weights[None, None]))
    return parts


def _transfer_tile(
    kernel: KernelInterpreter,
    row: _Part,
    column: _Part,
    frame: NDArray[np.uint8],
    cells: NDArray[np.float32],
    out: NDArray[np.uint8],
) -> None:
    planes = kernel.tensor("frame")[0]
    cv2.split(frame[row.pixels, column.pixels], (planes[0], planes[1], planes[2]))
    kernel.put("cells", cells[:, :, row.cells, column.cells])
    kernel.put("rows", row.weights)
    kernel.put("columns", column.weights)
    kernel.invoke()
    styled = kernel.tensor("styled")[0]
    cv2.merge((styled[0], styled[1], styled[2]), out[row.pixels, column.pixels])
