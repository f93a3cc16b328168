"""Encodings of tensors between a client and an edge: raw, JPEG, or packed (gateways only)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_IMAGES = ("frame", "style", "stylized")
GRID = "grid"
OLD_MAP = "affine_map"  # of edges before bilateral grids
_DTYPES = {"uint8": "UINT8", "float32": "FP32", "object": "BYTES"}
_FRUGAL_QUALITIES = (95, 90, 80, 70, 60, 50)  # the best one within the limit is used
_FRUGAL_BITS = 2.2  # per pixel: 40 kB for a frame of 512×288


@dataclass(frozen=True)
class Wire:
    """The encodings of one connection.

    Attributes:
        jpeg_quality: Send images as JPEG of this quality, 1 to 100; None = raw.
        is_frugal: Pack grids, and unless a quality is given, send images as JPEG of the best quality within
            2.2 bits per pixel.
    """

    jpeg_quality: int | None = None
    is_frugal: bool = False

    @staticmethod
    def supports_frugal(names: Iterable[str]) -> bool:
        """Return whether an edge offers the frugal encodings, by the names of its stylizer's tensors."""
        return {"frame_jpeg", "stylized_jpeg", "grid_packed"} <= set(names)

    @property
    def reply_quality(self) -> int | None:
        """JPEG quality to request; None if images are raw."""
        return self.jpeg_quality or (_FRUGAL_QUALITIES[0] if self.is_frugal else None)

    def name(self, tensor: str) -> str:
        """Return the name of a tensor in the encoding that it is sent in."""
        if tensor in _IMAGES and self.reply_quality:
            return f"{tensor}_jpeg"
        return f"{tensor}_packed" if tensor == GRID and self.is_frugal else tensor

    def packed(self, tensor: str, value: NDArray[Any]) -> NDArray[Any]:
        """Return an input as it is sent: the array itself, or an object array (1,) of bytes."""
        if not self.name(tensor).endswith("_jpeg"):
            return value
        from edge_triton.client.jpeg import encode_jpeg  # loads OpenCV only if a JPEG is needed

        limit = _FRUGAL_BITS / 8 * value.shape[1] * value.shape[2]
        data = b""
        for quality in (self.jpeg_quality,) if self.jpeg_quality else _FRUGAL_QUALITIES:
            data = encode_jpeg(value[0], quality)
            if len(data) <= limit:
                break
        return np.array([data], np.object_)


def wire_inputs(wire: Wire, inputs: Mapping[str, NDArray[Any]]) -> tuple[list[Any], int]:
    """Return input arrays by name as tritonclient's tensors, and their size as sent, in bytes."""
    from tritonclient.grpc import InferInput

    tensors, size = [], 0
    for name, value in inputs.items():
        sent = wire.packed(name, value)
        tensor = InferInput(wire.name(name), list(sent.shape), _DTYPES[sent.dtype.name])
        tensor.set_data_from_numpy(np.ascontiguousarray(sent))
        tensors.append(tensor)
        size += len(sent[0]) if sent.dtype == np.object_ else sent.nbytes
    return tensors, size
