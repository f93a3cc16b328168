"""Compact encoding of bilateral grids between edge and phone: at most 10 kB where floats take 55.

Values are quantized to multiples of 1/steps; gains and offsets share the step, as both have about the same
effect in gray levels. Each of the 12 planes is predicted from its neighbors along rows, columns and luma,
which is exact where it is linear in each of them, and the small residuals are deflated. A grid that would
exceed the budget gets fewer steps.

Layout: ``<4s`` magic, ``<BBBH`` rows, columns, bins, steps; then a raw deflate stream of the zigzag residuals
as uint16, all low bytes before all high bytes, planes outermost, luma next.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from mvstylizer.stylizer import BilateralGrid

BUDGET_BYTES = 10_000
MAX_VALUE = 32.0
MAX_SIDE = 255  # of rows, columns and bins
_MAGIC, _OLD_MAGIC = b"MVG1", b"MVA1"
_HEADER = struct.Struct("<4sBBBH")
_STEPS = (1000, 707, 500, 354, 250, 177, 125, 88, 64)  # of at most 32 · 1000, which fits an int16
_PLANES = 12


class GridCodecError(ValueError):
    """The values cannot be packed, or the bytes are not a packed grid; the text is a constant."""


def pack_grid(grid: BilateralGrid, budget: int = BUDGET_BYTES) -> bytes:
    """Pack a grid.

    Args:
        grid: See `BilateralGrid`; at most 255 rows, columns and bins, values from -32 to 32.
        budget: Size that the result should not exceed, in bytes; the finest steps within it are used.

    Returns:
        The packed grid; larger than `budget` only if even the coarsest steps exceed it.

    Raises:
        GridCodecError: A value is not finite or out of range, or the grid has another shape.
    """
    if grid.ndim != 5 or grid.shape[3:] != (3, 4) or not 0 < min(grid.shape) <= max(grid.shape) <= MAX_SIDE:
        raise GridCodecError("the array is not a bilateral grid")
    if not np.abs(grid).max() <= MAX_VALUE:  # true for NaN and infinity
        raise GridCodecError("the grid contains values outside the range of color transforms")
    packed = b""
    for steps in _STEPS:
        packed = _HEADER.pack(_MAGIC, *grid.shape[:3], steps) + _deflated(grid, steps)
        if len(packed) <= budget:
            break
    return packed


def unpack_grid(packed: bytes, max_cells: int = 1 << 18) -> BilateralGrid:
    """Unpack a grid.

    Args:
        packed: Result of `pack_grid`.
        max_cells: A grid of more rows · columns · bins is rejected before memory is allocated.

    Raises:
        GridCodecError: The bytes are not a packed grid, are damaged, or hold a value out of range.
    """
    rows, columns, bins, steps = _header(packed)
    cells = rows * columns * bins
    if not steps or not 0 < cells <= max_cells:
        raise GridCodecError("the bytes are not a packed grid")
    content = _inflated(packed[_HEADER.size :], 2 * _PLANES * cells)
    low, high = np.frombuffer(content, np.uint8).reshape(2, _PLANES, bins, rows, columns).astype(np.uint16)
    planes = _unzigzag(np.asarray(low | high << 8, np.uint16))
    for axis in (1, 2, 3):  # the sums wrap around as the differences did, so they end at the right values
        planes = planes.cumsum(axis, dtype=np.int16)
    values = np.ascontiguousarray(planes.transpose(2, 3, 1, 0), np.float32) / np.float32(steps)
    if np.abs(values).max() > MAX_VALUE + 0.5 / steps:
        raise GridCodecError("the grid contains values outside the range of color transforms")
    return values.reshape(rows, columns, bins, 3, 4)


def _header(packed: bytes) -> tuple[int, int, int, int]:
    """Return rows, columns, bins and steps."""
    if packed[:4] == _OLD_MAGIC:
        raise GridCodecError("the bytes are an affine map (MVA1) of an older version, not a grid (MVG1)")
    if packed[:4] != _MAGIC or len(packed) < _HEADER.size:
        raise GridCodecError("the bytes are not a packed grid")
    _, rows, columns, bins, steps = _HEADER.unpack_from(packed)
    return rows, columns, bins, steps


def _inflated(data: bytes, size: int) -> bytes:
    """Return the content of a deflate stream that holds exactly `size` bytes."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = inflater.decompress(data, size + 1)
    except zlib.error:
        content = b""
    if len(content) != size or not inflater.eof or inflater.unused_data:
        raise GridCodecError("the packed grid is truncated or damaged")
    return content


def _deflated(grid: BilateralGrid, steps: int) -> bytes:
    quantized = np.rint(grid * np.float32(steps)).astype(np.int16)
    residual = quantized.reshape(*grid.shape[:3], _PLANES).transpose(3, 2, 0, 1)
    for axis in (3, 2, 1):
        residual = np.diff(residual, axis=axis, prepend=np.int16(0))
    zigzag = _zigzag(residual)
    content = (zigzag & 0xFF).astype(np.uint8).tobytes() + (zigzag >> 8).astype(np.uint8).tobytes()
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_FILTERED)
    return deflater.compress(content) + deflater.flush()


def _zigzag(values: NDArray[np.int16]) -> NDArray[np.uint16]:
    """Map 0, -1, 1, -2, … to 0, 1, 2, 3, …, so that small residuals of either sign have a zero high byte."""
    return (values << 1 ^ values >> 15).view(np.uint16)


def _unzigzag(values: NDArray[np.uint16]) -> NDArray[np.int16]:
    return (values >> 1 ^ -(values & 1).astype(np.int16).view(np.uint16)).view(np.int16)
