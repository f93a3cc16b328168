"""What the phone asks of a stylizer, wherever it runs: EdgeClient on an edge, OnnxStylizer in process."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Reply = Literal["image", "map", "both"]


class StylizedFrame(NamedTuple):
    """A stylized key frame.

    Attributes:
        image: uint8 RGB (round(r·H), round(r·W), 3), or None when it was not asked for.
        affine_map: float32 (gh, gw, 3, 4), [A | b] of stylized = A·rgb + b, rgb and b in [0, 1], on a grid
            that covers the frame; or None when it was not asked for.
        sent: Bytes of the tensors sent for it, without gRPC's framing; 0 where nothing was sent.
        received: Bytes of the tensors that came back.
    """

    image: NDArray[np.uint8] | None
    affine_map: NDArray[np.float32] | None
    sent: int = 0
    received: int = 0


class Stylizer(Protocol):
    """Turns a style photo into a style code, and key frames into stylized ones."""

    def encode_style(self, style: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return what a style photo contributes; computed once per style.

        Args:
            style: uint8 RGB (H, W, 3), any size.

        Returns:
            float32 (K,).

        Raises:
            MVStylizerError: The stylizer cannot be reached, or refuses the photo.
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
            reply: The stylized picture, the affine colour map on a coarse grid, or both.

        Returns:
            The image, uint8 RGB (round(r·H), round(r·W), 3), the affine map, float32 (gh, gw, 3, 4), or both.

        Raises:
            MVStylizerError: The stylizer cannot be reached, or refuses the frame.
        """
        ...

    def close(self) -> None:
        """Let go of connections or memory."""
        ...
