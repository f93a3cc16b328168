"""Reference of every build of the transfer: its formula in float64 NumPy, and inputs for its corner cases.

Written from the description, not from the builders in `export.kernels`; see `export.parity.warp_reference`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from export.runtimes.difference import Array, Case


class TransferProblem(NamedTuple):
    """A frame, uint8 (H, W, 3), and an affine map, float32 (gh, gw, 3, 4)."""

    name: str
    frame: Array
    cells: Array


def transfer_problems() -> Iterator[TransferProblem]:
    """Yield identity, mild, random and saturating maps at even, odd and tiny sizes, and one at 1080p."""
    rng = np.random.default_rng(2)
    sizes = (((48, 64), (6, 8)), ((273, 641), (9, 20)), ((5, 3), (7, 9)), ((40, 1), (1, 1)))
    for (height, width), (rows, columns) in sizes:
        yield from transfer_problems_at(width, height, columns, rows)
    frame = rng.integers(0, 256, (1080, 1920, 3), dtype=np.uint8)
    noise = rng.normal(0, 0.1, (36, 64, 3, 4)).astype(np.float32)
    yield TransferProblem("near identity 1920x1080", frame, np.eye(3, 4, dtype=np.float32) + noise)


def transfer_problems_at(width: int, height: int, columns: int, rows: int) -> Iterator[TransferProblem]:
    """Yield the maps of one size."""
    rng = np.random.default_rng(4)
    identity = np.eye(3, 4, dtype=np.float32)
    frame = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    noise = rng.normal(0, 1, (rows, columns, 3, 4)).astype(np.float32)
    size = f"{width}x{height}"
    yield TransferProblem(f"near identity {size}", frame, identity + noise / 8)
    yield TransferProblem(f"identity {size}", frame, np.broadcast_to(identity, noise.shape))
    yield TransferProblem(f"random {size}", frame, noise)
    yield TransferProblem(f"saturated {size}", frame, 100 * noise)


def transferred(problem: TransferProblem) -> Array:
    """Return the map applied to every pixel, saturated but not rounded, float64 (H, W, 3)."""
    frame, cells = problem.frame, problem.cells
    rows, columns = _tent(frame.shape[0], cells.shape[0]), _tent(frame.shape[1], cells.shape[1])
    by_row = np.tensordot(rows, cells.astype(np.float64), axes=1)
    styled = np.empty(frame.shape)
    for y, line in enumerate(frame.astype(np.float64)):
        matrix = np.tensordot(columns, by_row[y], axes=1)
        styled[y] = np.einsum("xck,xk->xc", matrix[..., :3], line) + 255 * matrix[..., 3]
    return np.clip(styled, 0, 255)


def _tent(pixels: int, cells: int) -> Array:
    """Return bilinear weights (pixels, cells); `numpy.interp` clamps outside the outer cell centers."""
    centers = (np.arange(pixels) + 0.5) * cells / pixels - 0.5
    return np.stack([np.interp(centers, np.arange(cells), unit) for unit in np.eye(cells)], axis=1)


def tile_case(problem: TransferProblem) -> Case:
    """Return the problem as a case of ``transfer.tflite``, the whole frame as one tile."""
    name, frame, cells = problem
    rows, columns = _tent(frame.shape[0], cells.shape[0]), _tent(frame.shape[1], cells.shape[1])
    inputs = {
        "frame": frame.transpose(2, 0, 1)[None],
        "cells": np.ascontiguousarray(cells.transpose(3, 2, 0, 1)),
        "rows": rows.astype(np.float32)[None, None],
        "columns": np.ascontiguousarray(columns.T).astype(np.float32)[None, None],
    }
    return Case(name, inputs, transferred(problem).transpose(2, 0, 1).ravel())


def accel_case(problem: TransferProblem) -> Case:
    """Return the problem as a case of ``transfer_accel_WxH.tflite``."""
    by_input = problem.cells.transpose(0, 1, 3, 2).reshape(1, *problem.cells.shape[:2], 12)
    inputs = {"frame": problem.frame[None].astype(np.float32), "cells": np.ascontiguousarray(by_input)}
    return Case(problem.name, inputs, transferred(problem).ravel())
