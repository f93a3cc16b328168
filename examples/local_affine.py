"""Local mean and deviation, as a stylizer of kind ``affine``: `predict` returns one transform for each cell.

    mvstylizer export examples.local_affine:build --out exported/affine

Each cell's luma moves towards the style's mean, with the gain that brings the whole picture to the style's
deviation; the cell's own mean counts for a small share, so that light stays where it is.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LocalAffine(nn.Module):
    """Keeps the protocol of `export.protocol`; images are N×3×h×w float32 RGB in [0, 1]."""

    kind: Literal["affine"] = "affine"
    style_code_size = 6
    network_pixels = 144 * 256
    style_pixels = 144 * 256
    cell = 16

    def __init__(self) -> None:
        super().__init__()
        self.local_share = nn.Parameter(torch.tensor([0.15]))

    def encode_style(self, style: Tensor) -> Tensor:
        """Return mean and deviation of each channel, N×6."""
        return torch.cat(moments(style), dim=1)

    def predict(self, content: Tensor, code: Tensor) -> Tensor:
        """Return rows of [A | b] for each cell, N×12×h/cell×w/cell."""
        mean, deviation = moments(content)
        gain = (code[:, 3:] / deviation).clamp(0.4, 2.5)[:, :, None, None]
        local = F.avg_pool2d(content, self.cell)
        center = mean[:, :, None, None] + self.local_share * (local - mean[:, :, None, None])
        offset = code[:, :3, None, None] - gain * center
        diagonal = gain.expand_as(local)
        nothing = torch.zeros_like(local[:, :1])
        rows = []
        for i in range(3):
            row = [diagonal[:, i : i + 1] if i == j else nothing for j in range(3)]
            rows += [*row, offset[:, i : i + 1]]
        return torch.cat(rows, dim=1)


def moments(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of each channel, N×3 each."""
    mean = image.mean((2, 3))
    variance = (image - mean[:, :, None, None]).square().mean((2, 3))
    return mean, (variance + 1e-4).sqrt()


def build() -> LocalAffine:
    """Return the stylizer."""
    return LocalAffine()
