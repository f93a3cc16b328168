"""A mapping like Neural Preset's, as a stylizer of kind ``lut``: `predict` returns a look-up table.

    mvstylizer export examples.neural_preset:build --out exported/preset

Deterministic neural color mapping (Ke et al., CVPR 2023) takes every color to k numbers, multiplies them with
a matrix that an encoder predicts from the picture, and takes them back. A first mapping removes the content's
own look, a second one applies the style's. The weights are those of initialization, so looks are arbitrary.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 17  # nodes of the look-up table along each axis
WIDTH = 16  # k
CODE = WIDTH * WIDTH


class Encoder(nn.Module):
    """A small convolutional network from a picture to a k×k matrix near the identity."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, 2, 1),
        )
        self.matrix = nn.Linear(64, CODE)

    def forward(self, picture: Tensor) -> Tensor:
        """Return the matrix, N×k·k."""
        change: Tensor = self.matrix(self.layers(picture).mean((2, 3)))
        return 0.3 * change + torch.eye(WIDTH).flatten()


class NeuralPreset(nn.Module):
    """Keeps the protocol of `export.protocol`; images are N×3×h×w float32 RGB in [0, 1]."""

    kind: Literal["lut"] = "lut"
    style_code_size = CODE
    network_pixels = 144 * 256
    style_pixels = 144 * 256
    cell = 16

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.enter = nn.Parameter(F.normalize(torch.randn(WIDTH, 3), dim=0))
        nodes = torch.linspace(0, 1, SIDE)
        blue, green, red = torch.meshgrid(nodes, nodes, nodes, indexing="ij")
        self.register_buffer("colors", torch.stack([red, green, blue]), persistent=False)

    def encode_style(self, style: Tensor) -> Tensor:
        """Return the style's matrix, N×k·k."""
        code: Tensor = self.encoder(style)
        return code

    def predict(self, content: Tensor, code: Tensor) -> Tensor:
        """Return the look-up table, N×3×17×17×17, indexed (blue, green, red)."""
        own = self.encoder(content).view(-1, WIDTH, WIDTH)
        styled = code.view(-1, WIDTH, WIDTH)
        colors = self.enter @ self.get_buffer("colors").flatten(1)
        mapped: Tensor = self.enter.T @ (
            styled @ (2 * colors - own @ colors)
        )  # I - (own - I): its inverse, nearly
        return mapped.view(-1, 3, SIDE, SIDE, SIDE)


def build() -> NeuralPreset:
    """Return the stylizer with the weights of initialization, always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return NeuralPreset()
