"""Affine maps for the way from edge to phone: quantised, predicted, deflated; 5 to 28 kB instead of 110.

A value is rounded to a multiple of 1/steps: the same step for gains and shifts, as both are worth about the
same number of grey levels. Each of the 12 planes is predicted from its left, upper and upper left neighbour
(exact where it is locally a plane), and what remains is small. At 1024 steps a picture made from the map
differs by about a tenth of a grey level (66 dB); maps that would become larger than the budget get fewer.

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
_LARGEST = 30_000  # of a quantised value, so that it is an int16
_PLANES = 12


class MapCodecError(ValueError):
    """The values cannot be packed, or the bytes are no packed map; the text is constant."""


def pack_map(affine_map: NDArray[np.float32], budget: int = BUDGET_BYTES) -> bytes:
    """Pack a map.

    Args:
        affine_map: float32 (gh, gw, 12), at most 65535 cells a side.
        budget: Bytes that the result should not exceed; the finest steps that keep it are taken.

    Returns:
        The packed map; larger than `budget` only when even the coarsest steps do not keep it.

    Raises:
        MapCodecError: A value is not finite or far outside what a colour map holds, or the map is too large.
    """
    if max(affine_map.shape) > 0xFFFF:
        raise MapCodecError("the map is too large to be packed")
    largest = float(np.abs(affine_map).max())
    packed = b""
    for steps in _STEPS:
        if largest * steps <= _LARGEST:  # false for NaN and infinity
            packed = _HEADER.pack(_MAGIC, *affine_map.shape[:2], steps) + _deflated(affine_map, steps)
            if len(packed) <= budget:
                break
    if not packed:
        raise MapCodecError("the map holds values that no colour map has")
    return packed


def unpack_map(packed: bytes, most_cells: int = 1 << 20) -> NDArray[np.float32]:
    """Return the map, float32 (gh, gw, 12).

    Args:
        packed: What `pack_map` returned.
        most_cells: A larger map is refused before memory is taken for it.

    Raises:
        MapCodecError: The bytes are something else, cut off or damaged.
    """
    try:
        magic, rows, columns, steps = _HEADER.unpack_from(packed)
    except struct.error:
        raise MapCodecError("the bytes are no packed map") from None
    size = 2 * _PLANES * rows * columns
    if magic != _MAGIC or not steps or not 0 < rows * columns <= most_cells:
        raise MapCodecError("the bytes are no packed map")
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = inflater.decompress(packed[_HEADER.size :], size + 1)
    except zlib.error:
        content = b""
    if len(content) != size or not inflater.eof:
        raise MapCodecError("the packed map is cut off or damaged")
    low, high = np.frombuffer(content, np.uint8).reshape(2, _PLANES, rows, columns).astype(np.uint16)
    residual = _unzigzag(np.asarray(low | high << 8, np.uint16))
    # Sums wrap around like the differences did, so they end at the values whatever lies between.
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
    """0, -1, 1, -2, … become 0, 1, 2, 3, …: small residuals of either sign have an empty high byte."""
    return (values << 1 ^ values >> 15).view(np.uint16)


def _unzigzag(values: NDArray[np.uint16]) -> NDArray[np.int16]:
    return (values >> 1 ^ -(values & 1).astype(np.int16).view(np.uint16)).view(np.int16)
