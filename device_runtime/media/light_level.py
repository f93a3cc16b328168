"""Light levels of an HDR video: the display it was mastered on, and how bright it gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

import av
import numpy as np
from av.buffer import Buffer

CHROMATICITY: Final = 50_000  # units of SMPTE ST 2086, as x265 takes them
LUMINANCE: Final = 10_000


@dataclass(frozen=True)
class LightLevel:
    """Light levels as x265 takes them.

    Attributes:
        mastering: ``G(x,y)B(x,y)R(x,y)WP(x,y)L(max,min)`` in 0.00002 and 0.0001 cd/m², or None if untagged.
        content: The largest light level and the largest frame average, ``MaxCLL,MaxFALL``, or None.
    """

    mastering: str | None = None
    content: str | None = None

    @classmethod
    def of(cls, frame: av.VideoFrame) -> LightLevel:
        """Read the light levels that come with a decoded frame (FFmpeg's side data)."""
        mastering, content = (
            cast("Buffer | None", frame.side_data.get(name))
            for name in ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL")
        )
        return cls(
            _mastering(bytes(mastering)) if mastering else None,
            "{},{}".format(*np.frombuffer(bytes(content), np.uint32, 2)) if content else None,
        )

    @property
    def parameters(self) -> list[str]:
        """Parameters of x265 that write them; empty without any."""
        mastering = [] if self.mastering is None else [f"master-display={self.mastering}"]
        content = [] if self.content is None else [f"max-cll={self.content}"]
        return ["hdr10=1", *mastering, *content] if mastering or content else []


def _mastering(data: bytes) -> str | None:
    """Read FFmpeg's ``AVMasteringDisplayMetadata``: ten fractions, then which of them are given."""
    values = np.frombuffer(data, np.int32, 22)
    has_primaries, has_luminance = values[20:]
    if not has_primaries or not has_luminance:
        return None
    numbers = values[:20:2] / np.maximum(values[1:20:2], 1)
    red, green, blue, white = np.rint(numbers[:8] * CHROMATICITY).astype(int).reshape(4, 2)
    darkest, brightest = np.rint(numbers[8:] * LUMINANCE).astype(int)
    points = (("G", green), ("B", blue), ("R", red), ("WP", white))
    return "".join(f"{name}({x},{y})" for name, (x, y) in points) + f"L({brightest},{darkest})"
