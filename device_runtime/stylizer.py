"""What the phone asks of a stylizer, wherever it runs: EdgeClient on an edge, LocalStylizer in process."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_triton.client import Reply, StylizedKey


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
    ) -> StylizedKey:
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
