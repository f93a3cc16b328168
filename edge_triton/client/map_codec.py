"""Compact encoding of affine maps between edge and phone: 5 to 28 kB instead of 110.

Values are quantized to multiples of 1/steps; gains and offsets share the step, as both have about the same
effect in gray levels. Each of the 12 planes is predicted from its left, upper and upper-left neighbors, which
is exact where it is locally linear, and the small residuals are deflated. At 1024 steps a picture made from
the map differs by about a tenth of a gray level (66 dB); a map that would exceed the budget gets fewer steps.

Layout: ``<4s`` magic, ``<HHH`` rows, columns, steps; then a raw deflate stream of the zigzag residuals as
uint16, all low bytes before all high bytes, planes outermost.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

BUDGET_BYTES = 28_000
_MAGIC = b"MVA1"
_HEADER = struct.Struct("<4sHHH")
_STEPS = (1024, 512, 256, 128, 64)
_MAX_QUANTIZED = 30_000  # fits an int16
_PLANES = 12


class MapCodecError(ValueError):
    """The values cannot be packed, or the bytes are not a packed map; the text is a constant."""


def pack_map(affine_map: NDArray[np.float32], budget: int = BUDGET_BYTES) -> bytes:
    """Pack a map.

    Args:
        affine_map: float32 (gh, gw, 12), at most 65535 cells per side.
        budget: Size that the result should not exceed, in bytes; the finest steps within it are used.

    Returns:
        The packed map; larger than `budget` only if even the coarsest steps exceed it.

    Raises:
        MapCodecError: A value is not finite or far outside the range of color maps, or the map is too large.
    """
    if max(affine_map.shape) > 0xFFFF:
        raise MapCodecError("the map is too large to be packed")
    largest = float(np.abs(affine_map).max())
    packed = b""
    for steps in _STEPS:
        if largest * steps <= _MAX_QUANTIZED:  # false for NaN and infinity
            packed = _HEADER.pack(_MAGIC, *affine_map.shape[:2], steps) + _deflated(affine_map, steps)
            if len(packed) <= budget:
                break
    if not packed:
        raise MapCodecError("the map contains values outside the range of color maps")
    return packed


def unpack_map(packed: bytes, max_cells: int = 1 << 20) -> NDArray[np.float32]:
    """Unpack a map, float32 (gh, gw, 12).

    Args:
        packed: Result of `pack_map`.
        max_cells: A larger map is rejected before memory is allocated.

    Raises:
        MapCodecError: The bytes are not a packed map, truncated or damaged.
    """
    try:
        magic, rows, columns, steps = _HEADER.unpack_from(packed)
    except struct.error:
        raise MapCodecError("the bytes are not a packed map") from None
    size = 2 * _PLANES * rows * columns
    if magic != _MAGIC or not steps or not 0 < rows * columns <= max_cells:
        raise MapCodecError("the bytes are not a packed map")
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = inflater.decompress(packed[_HEADER.size :], size + 1)
    except zlib.error:
        content = b""
    if len(content) != size or not inflater.eof:
        raise MapCodecError("the packed map is truncated or damaged")
    low, high = np.frombuffer(content, np.uint8).reshape(2, _PLANES, rows, columns).astype(np.uint16)
    residual = _unzigzag(np.asarray(low | high << 8, np.uint16))
    # The sums wrap around as the differences did, so they end at the right values.
    planes = residual.cumsum(1, dtype=np.int16).cumsum(2, dtype=np.int16)
    return np.ascontiguousarray(planes.transpose(1, 2, 0), np.float32) / np.float32(steps)


def _deflated(affine_map: NDArray[np.float32], steps: int) -> bytes:
    planes = np.rint(affine_map * np.float32(steps)).astype(np.int16).transpose(2, 0, 1)
    residual = np.diff(np.diff(planes, axis=1, prepend=np.int16(0)), axis=2, prepend=np.int16(0))
    zigzag = _zigzag(residual)
    content = (zigzag & 0xFF).astype(np.uint8).tobytes() + (zigzag >> 8).astype(np.uint8).tobytes()
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_FILTERED)
    return deflater.compress(content) + deflater.flush()


def _zigzag(values: NDArray[np.int16]) -> NDArray[np.uint16]:
    """Map 0, -1, 1, -2, … to 0, 1, 2, 3, …, so that small residuals of either sign have a zero high byte."""
    return (values << 1 ^ values >> 15).view(np.uint16)


def _unzigzag(values: NDArray[np.uint16]) -> NDArray[np.int16]:
    return (values >> 1 ^ -(values & 1).astype(np.int16).view(np.uint16)).view(np.int16)
