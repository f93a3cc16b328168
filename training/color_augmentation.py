"""Random color looks: changes to a photo like those of a colorist or another time of day.

Two looks of one photo form a pair with a known result (content = look 1, style = look 2, target = look 2 of
the content), as in the self-supervision of Neural Preset. The looks must vary strongly, or the stylizer
learns the bias of the generator.

Images are N×3×H×W float32 RGB in [0, 1]; every image of a batch gets its own look.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LUT_SIDE = 4  # nodes of the random 3D LUT along each axis: few, so that it is smooth


class Look:
    """One random look per image of a batch, which can be applied to several crops.

    Args:
        batch: Images in the batch.
        generator: Source of randomness.
    """

    def __init__(self, batch: int, generator: torch.Generator) -> None:
        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return low + (high - low) * torch.rand(batch, *shape, 1, 1, generator=generator)

        self.exposure = 2 ** uniform(-1.2, 0.9, 1)
        self.white_balance = 2 ** uniform(-0.45, 0.45, 3)
        self.gamma = 2 ** uniform(-0.6, 0.6, 3) * 2 ** uniform(-0.3, 0.3, 1)
        self.contrast = uniform(-0.5, 0.6, 1)
        self.saturation = uniform(0.1, 1.7, 1)
        self.shadows, self.lights = uniform(-0.12, 0.12, 3), uniform(-0.12, 0.12, 3)
        self.fade = uniform(0.0, 0.15, 1)
        lut = torch.randn(batch, 3, LUT_SIDE, LUT_SIDE, LUT_SIDE, generator=generator)
        self.lut = 0.05 * lut
        self.use = torch.rand(batch, 5, 1, 1, 1, generator=generator) < 0.6

    def __call__(self, image: Tensor) -> Tensor:
        """Apply the looks to N×3×H×W images."""
        x = torch.where(self.use[:, 0], image.pow(2.2) * self.exposure * self.white_balance, image.pow(2.2))
        x = _shoulder(x).pow(1 / 2.2)
        x = torch.where(self.use[:, 1], x.clamp(min=1e-4).pow(self.gamma), x)
        curve = x + self.contrast * torch.sin(2 * torch.pi * (x - 0.5)) / 5
        x = torch.where(self.use[:, 2], curve, x).clamp(0, 1)
        luma = x.mean(dim=1, keepdim=True)
        graded = luma + self.saturation * (x - luma) + self.shadows * (1 - luma) ** 2 + self.lights * luma**2
        x = torch.where(self.use[:, 3], graded * (1 - self.fade) + self.fade / 2, x).clamp(0, 1)
        # grid_sample reads the LUT at the pixel's color: x is blue, y green, z red.
        where = (2 * x.flip(1) - 1).permute(0, 2, 3, 1).unsqueeze(1)
        offset = F.grid_sample(self.lut, where, align_corners=True, padding_mode="border").squeeze(2)
        return torch.where(self.use[:, 4], x + offset, x).clamp(0, 1)


def _shoulder(x: Tensor) -> Tensor:
    """Roll highlights off above 0.8 instead of clipping them."""
    return torch.where(x > 0.8, 0.8 + 0.2 * torch.tanh((x - 0.8) / 0.2), x)
