"""Reference of every build of the transfer: its formula in float64 NumPy, and inputs for its corner cases.

Written from the description, not from the builders in `export.kernels`; see `export.parity.warp_reference`.
Each pixel reads the eight nodes around its place and luma by their indices.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np

from export.runtimes.difference import Array, Case


class TransferProblem(NamedTuple):
    """A frame, uint8 (H, W, 3), and a bilateral grid, float32 (rows, columns, bins, 3, 4)."""

    name: str
    frame: Array
    grid: Array


def transfer_problems() -> Iterator[TransferProblem]:
    """Yield identity, mild, random and saturating grids at even, odd and tiny sizes, and one at 1080p."""
    rng = np.random.default_rng(2)
    sizes = (
        ((48, 64), (6, 8, 4)),
        ((273, 641), (9, 16, 8)),
        ((5, 3), (7, 9, 2)),
        ((40, 1), (1, 1, 1)),
    )
    for (height, width), (rows, columns, bins) in sizes:
        yield from transfer_problems_at(width, height, columns, rows, bins)
    frame = rng.integers(0, 256, (1080, 1920, 3), dtype=np.uint8)
    noise = rng.normal(0, 0.1, (9, 16, 8, 3, 4)).astype(np.float32)
    yield TransferProblem("near identity 1920x1080", frame, np.eye(3, 4, dtype=np.float32) + noise)


def transfer_problems_at(
    width: int, height: int, columns: int, rows: int, bins: int
) -> Iterator[TransferProblem]:
    """Yield the grids of one size."""
    rng = np.random.default_rng(4)
    identity = np.eye(3, 4, dtype=np.float32)
    frame = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    noise = rng.normal(0, 1, (rows, columns, bins, 3, 4)).astype(np.float32)
    size = f"{width}x{height}"
    yield TransferProblem(f"near identity {size}", frame, identity + noise / 8)
    yield TransferProblem(f"identity {size}", frame, np.broadcast_to(identity, noise.shape))
    yield TransferProblem(f"random {size}", frame, noise)
    yield TransferProblem(f"black and white {size}", frame // 128 * 255, identity + noise / 8)
    yield TransferProblem(f"saturated {size}", frame, np.clip(30 * noise, -32, 32))  # the largest allowed


def transferred(problem: TransferProblem) -> Array:
    """Return the grid applied to every pixel, saturated but not rounded, float64 (H, W, 3)."""
    frame, grid = problem.frame, problem.grid.astype(np.float64)
    rows, columns, bins = grid.shape[:3]
    along, across = _neighbors(frame.shape[0], rows), _neighbors(frame.shape[1], columns)
    styled = np.empty(frame.shape)
    for y, line in enumerate(frame.astype(np.float64) / 255):
        luma = _around(0.2126 * line[:, 0] + 0.7152 * line[:, 1] + 0.0722 * line[:, 2], bins)
        matrix = np.zeros((frame.shape[1], 3, 4))
        for (row, by_row), (column, by_column), (bin_, by_bin) in product(along, across, luma):
            weight = by_row[y] * by_column * by_bin
            matrix += weight[:, None, None] * grid[row[y], column, bin_]
        styled[y] = 255 * (np.einsum("xck,xk->xc", matrix[..., :3], line) + matrix[..., 3])
    return np.clip(styled, 0, 255)


def _neighbors(pixels: int, cells: int) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return index and weight of the cells on both sides of each pixel: half-pixel centers, edges clamped."""
    place = (np.arange(pixels) + 0.5) * cells / pixels - 0.5
    low = np.floor(place).astype(int)
    part = place - low
    return (np.clip(low, 0, cells - 1), 1 - part), (np.clip(low + 1, 0, cells - 1), part)


def _around(luma: Array, bins: int) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return index and weight of the bins on both sides of each luma in [0, 1]."""
    place = luma * (bins - 1)
    low = np.clip(np.floor(place).astype(int), 0, max(bins - 2, 0))
    part = place - low
    return (low, 1 - part), (np.minimum(low + 1, bins - 1), part)


def tile_case(problem: TransferProblem) -> Case:
    """Return the problem as a case of ``transfer.tflite``, the whole frame as one tile."""
    name, frame, grid = problem
    rows, columns, bins = grid.shape[:3]
    cells = np.array(grid.transpose(4, 3, 2, 0, 1))  # input, output, bin, row, column
    cells[3] *= 255
    luma = np.array([0.2126 / 255, 0.7152 / 255, 0.0722 / 255, 0, 1], np.float32)
    inputs = {
        "frame": frame.transpose(2, 0, 1)[None],
        "cells": cells.reshape(12, bins, rows, columns),
        "rows": _tent(frame.shape[0], rows).astype(np.float32)[None, None],
        "columns": np.ascontiguousarray(_tent(frame.shape[1], columns).T).astype(np.float32)[None, None],
        "guide": (luma * np.float32(bins - 1)).reshape(5, 1, 1, 1),
        "bins": np.arange(bins, dtype=np.float32).reshape(1, bins, 1, 1),
    }
    return Case(name, inputs, transferred(problem).transpose(2, 0, 1).ravel())


def _tent(pixels: int, cells: int) -> Array:
    """Return bilinear weights (pixels, cells)."""
    weights = np.zeros((pixels, cells))
    for cell, weight in _neighbors(pixels, cells):
        np.add.at(weights, (np.arange(pixels), cell), weight)
    return weights


def accel_case(problem: TransferProblem) -> Case:
    """Return the problem as a case of ``transfer_accel_WxH.tflite``."""
    rows, columns, bins = problem.grid.shape[:3]
    by_input = problem.grid.transpose(0, 1, 2, 4, 3).reshape(1, rows, columns, 12 * bins)
    inputs = {"frame": problem.frame[None].astype(np.float32), "cells": np.ascontiguousarray(by_input)}
    return Case(problem.name, inputs, transferred(problem).ravel())
