"""Checks an edge's reply: names, types, sizes and values, with bounds that follow from the request.

An edge is not trusted: its reply is read here only, and never by tritonclient's own decoder.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_triton.client.grid_codec import MAX_SIDE, MAX_VALUE, unpack_grid

_DATATYPES = {"uint8": "UINT8", "float32": "FP32"}
_PREFIX_BYTES = 4


class ReplyError(ValueError):
    """The reply is not what was requested."""


@dataclass(frozen=True)
class Bounds:
    """What an output may be.

    Attributes:
        dtype: ``uint8`` or ``float32``.
        lowest: Smallest allowed shape, without the leading 1.
        highest: Largest allowed shape.
        max_value: Largest magnitude of a number.
    """

    dtype: str
    lowest: tuple[int, ...]
    highest: tuple[int, ...]
    max_value: float = 255.0

    def allow(self, shape: tuple[int, ...]) -> bool:
        """Return whether a shape is within the bounds."""
        return len(shape) == len(self.lowest) and all(
            low <= have <= high for low, have, high in zip(self.lowest, shape, self.highest, strict=True)
        )


STYLE_CODE = Bounds("float32", (1,), (1 << 16,), 1e6)
GRID = Bounds("float32", (1, 1, 1, 12), (MAX_SIDE, MAX_SIDE, MAX_SIDE, 12), MAX_VALUE)


def image_bounds(frame: NDArray[np.uint8], r: float) -> Bounds:
    """Return the bounds of a stylized frame; the edge may round the other way, so a pixel is tolerated."""
    height, width = (round(float(np.float32(r)) * side) for side in frame.shape[:2])
    return Bounds("uint8", (max(height - 1, 1), max(width - 1, 1), 3), (height + 1, width + 1, 3))


def read_output(response: Any, name: str, bounds: Bounds) -> NDArray[Any]:
    """Return an output of a response in its raw form, without its leading 1.

    Args:
        response: KServe's ``ModelInferResponse``.
        name: Name under which the output was requested; its ending is its encoding.
        bounds: What it may be.

    Raises:
        ReplyError: It is missing, not encoded as its name says, or out of bounds.
    """
    index = next((n for n, tensor in enumerate(response.outputs) if tensor.name == name), None)
    if index is None or index >= len(response.raw_output_contents):
        raise ReplyError(f"the reply has no {name}")
    tensor, data = response.outputs[index], response.raw_output_contents[index]
    try:
        value = _decoded(tensor, data, bounds)
    except ValueError as err:  # a damaged JPEG or grid
        raise ReplyError(str(err)) from err
    if value.dtype != bounds.dtype or not bounds.allow(value.shape):
        raise ReplyError(f"{name} has the wrong shape")
    if value.dtype == np.float32 and not np.abs(value).max() <= bounds.max_value:  # also refuses NaN
        raise ReplyError(f"{name} contains a number out of range")
    return value


def _decoded(tensor: Any, data: bytes, bounds: Bounds) -> NDArray[Any]:
    if tensor.name.endswith("_jpeg"):
        from edge_triton.client.jpeg import decode_jpeg  # loads OpenCV only if a JPEG is needed

        return decode_jpeg(_element(tensor, data), bounds.highest[0] * bounds.highest[1])
    if tensor.name.endswith("_packed"):
        grid = unpack_grid(_element(tensor, data))
        return grid.reshape(*grid.shape[:3], 12)
    shape = tuple(tensor.shape)
    if tensor.datatype != _DATATYPES[bounds.dtype] or shape[:1] != (1,) or not bounds.allow(shape[1:]):
        raise ReplyError(f"{tensor.name} has the wrong shape")
    if len(data) != math.prod(shape) * np.dtype(bounds.dtype).itemsize:
        raise ReplyError(f"{tensor.name} has the wrong number of bytes for its shape")
    return np.frombuffer(data, bounds.dtype).reshape(shape[1:])


def _element(tensor: Any, data: bytes) -> bytes:
    """Return the only element of a BYTES tensor."""
    is_one = tensor.datatype == "BYTES" and list(tensor.shape) == [1] and len(data) >= _PREFIX_BYTES
    if not is_one or int.from_bytes(data[:_PREFIX_BYTES], "little") != len(data) - _PREFIX_BYTES:
        raise ReplyError(f"{tensor.name} is not one element of BYTES")
    return data[_PREFIX_BYTES:]
