"""In which form tensors travel between a client and an edge: raw, as JPEG, or packed (gateways only)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_triton.client.map_codec import unpack_map

_IMAGES = ("frame", "style", "stylized")
_MAP = "affine_map"
_MAX_PIXELS = 1 << 28  # no reply is larger
_FRUGAL_QUALITIES = (95, 90, 80, 70, 60, 50)  # the best one is taken that keeps the limit
_FRUGAL_BITS = 2.2  # a pixel: 40 kB for a frame of 512×288


@dataclass(frozen=True)
class Wire:
    """The forms that one connection uses.

    Attributes:
        jpeg_quality: Images travel as JPEG of this quality, 1 to 100; None = raw.
        is_frugal: Images travel as JPEG of the best quality that keeps 2.2 bits a pixel, unless a quality is
            given, and maps are packed.
    """

    jpeg_quality: int | None = None
    is_frugal: bool = False

    @staticmethod
    def spares_bytes(names: Iterable[str]) -> bool:
        """Tell by the names of all tensors of the stylizer whether an edge has the frugal forms."""
        return {"frame_jpeg", "stylized_jpeg", "affine_map_packed"} <= set(names)

    @property
    def reply_quality(self) -> int | None:
        """JPEG quality to ask for; None where no image comes as JPEG."""
        return self.jpeg_quality or (_FRUGAL_QUALITIES[0] if self.is_frugal else None)

    def name(self, tensor: str) -> str:
        """Return what a tensor is called in the form it travels in."""
        if tensor in _IMAGES and self.reply_quality:
            return f"{tensor}_jpeg"
        return f"{tensor}_packed" if tensor == _MAP and self.is_frugal else tensor

    def packed(self, tensor: str, value: NDArray[Any]) -> NDArray[Any]:
        """Return the value of an input as it travels: itself, or an object array (1,) of bytes."""
        if not self.name(tensor).endswith("_jpeg"):
            return value
        from edge_triton.client.jpeg import encode_jpeg  # OpenCV is loaded when a JPEG is wanted

        limit = _FRUGAL_BITS / 8 * value.shape[1] * value.shape[2]
        data = b""
        for quality in (self.jpeg_quality,) if self.jpeg_quality else _FRUGAL_QUALITIES:
            data = encode_jpeg(value[0], quality)
            if len(data) <= limit:
                break
        return np.array([data], np.object_)


def unpacked(name: str, value: NDArray[Any] | None) -> NDArray[Any] | None:
    """Return an output that came back, in its raw form.

    Args:
        name: Under which it travelled.
        value: As tritonclient gives it.

    Raises:
        ValueError: It is not what its name says.
    """
    if value is not None and name.endswith("_jpeg"):
        from edge_triton.client.jpeg import decode_jpeg

        return decode_jpeg(bytes(value[0]), _MAX_PIXELS)[None]
    if value is not None and name.endswith("_packed"):
        return unpack_map(bytes(value[0]))[None]
    return value
