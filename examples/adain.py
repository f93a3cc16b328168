"""AdaIN between Haar wavelets, as a stylizer of kind ``image``: `predict` returns the stylized picture.

    mvstylizer export examples.adain:build --out exported/adain

The picture is split into wavelets after an orthogonal mixing of its channels. The low band takes the style's
mean and deviation (Huang and Belongie 2017), and the details stay those of the content (as in WCT², Yoo et
al. 2019). Both steps can be undone exactly.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BANDS = ((1, 1, 1, 1), (1, -1, 1, -1), (1, 1, -1, -1), (1, -1, -1, 1))
OPPONENT = ((1, 1, 1), (1, 0, -1), (1, -2, 1))  # gray, red against blue, green against both


class WaveletAdaIN(nn.Module):
    """Keeps the protocol of `export.protocol`; images are N×3×h×w float32 RGB in [0, 1]."""

    kind: Literal["image"] = "image"
    style_code_size = 6
    network_pixels = 144 * 256
    style_pixels = 144 * 256
    cell = 16

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Parameter(F.normalize(torch.tensor(OPPONENT, dtype=torch.float32), dim=1))
        self.detail = nn.Parameter(torch.full((3,), 1.1))  # gain of the details, by channel

    def encode_style(self, style: Tensor) -> Tensor:
        """Return mean and deviation of each channel of the low band, N×6."""
        low = 2 * F.avg_pool2d(torch.einsum("ij,njhw->nihw", self.mix, style), 2)
        return torch.cat(moments(low), dim=1)

    def predict(self, content: Tensor, code: Tensor) -> Tensor:
        """Return the stylized content, N×3×h×w."""
        mixed = torch.einsum("ij,njhw->nihw", self.mix, content)
        bands = F.conv2d(mixed, self._haar(), stride=2, groups=3).reshape(
            -1, 3, 4, content.shape[2] // 2, content.shape[3] // 2
        )
        low = bands[:, :, 0]
        mean, deviation = (x[:, :, None, None] for x in moments(low))
        gain = (code[:, 3:, None, None] / deviation).clamp(0.3, 3)
        moved = gain * (low - mean) + code[:, :3, None, None]
        details = bands[:, :, 1:] * self.detail.view(1, 3, 1, 1, 1)
        whole = torch.cat([moved.unsqueeze(2), details], dim=2).flatten(1, 2)
        restored = F.conv_transpose2d(whole, self._haar(), stride=2, groups=3)
        return torch.einsum("ij,nihw->njhw", self.mix, restored)

    def _haar(self) -> Tensor:
        bands = torch.tensor(BANDS, dtype=torch.float32).view(4, 1, 2, 2) / 2
        return bands.repeat(3, 1, 1, 1)


def moments(band: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of each channel, N×3 each."""
    mean = band.mean((2, 3))
    variance = (band - mean[:, :, None, None]).square().mean((2, 3))
    return mean, (variance + 1e-4).sqrt()


def build() -> WaveletAdaIN:
    """Return the stylizer."""
    return WaveletAdaIN()
