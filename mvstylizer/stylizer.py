"""The stylizer interface, implemented by EdgeClient on an edge and by OnnxStylizer in process."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Reply = Literal["image", "map", "both"]
Match = float | Literal["auto"]
"""How a style is followed: 0 its look (the grading), 1 its palette (the colors), between them a mixture;
``auto`` decides by how alike the scenes are."""
LOOK, PALETTE = 0.0, 1.0
AUTO = -1.0  # ``auto``, as the first value of a style code
MAX_ASPECT = 36
"""How much longer one side of a picture may be than the other. The network needs two cells of its grid along
the shorter side; for thinner pictures these would exceed its pixel budget (147,456 pixels, cells of 32)."""


def is_too_thin(height: int, width: int) -> bool:
    """Return whether a picture is thinner than `MAX_ASPECT` allows."""
    return max(height, width) > MAX_ASPECT * min(height, width)


BilateralGrid = NDArray[np.float32]
"""A map from a frame to its stylization: float32 (rows, columns, bins, 3, 4), finite.

Cell (y, x, k) has the transform [A | b] of stylized = A·rgb + b, with rgb, stylized and b in [0, 1], for
luma k / (bins - 1). Rows and columns cover the frame with half-pixel centers, and edges are clamped. A pixel
reads the grid trilinearly at its place and its luma (Chen et al. 2007, Gharbi et al. 2017), so that the map
follows edges and can hold a tone curve. With one bin it does not depend on luma.

Luma is the sum of R', G' and B' weighted by `GUIDE`, in [0, 1].
"""
GUIDE = (0.2126, 0.7152, 0.0722)
"""Weights of R', G' and B' in luma, ITU-R BT.709."""


def with_match(style_code: NDArray[np.float32], match: Match) -> NDArray[np.float32]:
    """Return a style code (float32, K) that asks for a match, which is its first value."""
    asked = style_code.copy()
    asked[0] = AUTO if match == "auto" else match
    return asked


class StylizedFrame(NamedTuple):
    """A stylized key frame.

    Attributes:
        image: uint8 RGB (round(r·H), round(r·W), 3), or None if not requested.
        grid: The map, a bilateral grid of affine transforms (see `BilateralGrid`), or None if not requested.
        sent: Tensor bytes sent for it, without gRPC's framing; 0 if it was computed in process.
        received: Tensor bytes received.
    """

    image: NDArray[np.uint8] | None
    grid: BilateralGrid | None
    sent: int = 0
    received: int = 0


class Stylizer(Protocol):
    """Encodes style photos and stylizes frames."""

    def encode_style(self, style: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the style code of a photo; compute it once per style.

        Args:
            style: uint8 RGB (H, W, 3), any size.

        Returns:
            float32 (K,); the first value is the match, `AUTO`. See `with_match`.

        Raises:
            MVStylizerError: The stylizer cannot be reached, or rejects the photo.
        """
        ...

    def stylize(
        self,
        frame: NDArray[np.uint8],
        style_code: NDArray[np.float32],
        *,
        r: float = 1.0,
        reply: Reply = "image",
    ) -> StylizedFrame:
        """Stylize one frame.

        Args:
            frame: uint8 RGB (H, W, 3).
            style_code: float32 (K,), from `encode_style` of the same model.
            r: Upscaling factor of the image, above 0.
            reply: What to return: the stylized image, the map, or both.

        Returns:
            The image, uint8 RGB (round(r·H), round(r·W), 3), the map (see `BilateralGrid`), or both.

        Raises:
            MVStylizerError: The stylizer cannot be reached, or rejects the frame.
        """
        ...

    def close(self) -> None:
        """Release connections and memory."""
        ...
