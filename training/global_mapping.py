"""The global part of a stylization as a mapping of colors: a LUT and its Jacobian."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.look.lut import apply_lut

STEP = 1 / 32  # half a cell of a 17³ LUT, on each side


@dataclass(frozen=True)
class GlobalMapping:
    """A mapping of every color of a picture.

    Attributes:
        lut: N×3×S×S×S in [0, 1]; see `training.look.lut`.
        match: N×1, how far it follows the style's palette, 0 to 1.
    """

    lut: Tensor
    match: Tensor

    def __call__(self, colors: Tensor) -> Tensor:
        """Map N×3×h×w colors (sRGB in [0, 1])."""
        return apply_lut(self.lut, colors)

    def gain(self, colors: Tensor) -> Tensor:
        """Return the Jacobian at N×3×h×w colors, N×3×3×h×w, by differences of about one cell of the LUT."""
        columns = []
        for channel in range(3):
            step = STEP * (torch.arange(3, device=colors.device) == channel).view(1, 3, 1, 1)
            above, below = (colors + step).clamp(0, 1), (colors - step).clamp(0, 1)
            width = (above - below)[:, channel : channel + 1]
            columns.append((self(above) - self(below)) / width)
        return torch.stack(columns, dim=2)
