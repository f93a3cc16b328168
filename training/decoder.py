"""The mirrored decoder: VGG's layers from relu3_1 back to RGB, with nearest upsampling instead of pools.

It predicts a *correction* to the globally graded content. Its last convolution starts at zero, so an
untrained stylizer computes exactly the global mapping, and any correction is learned.

The deepest level feeds the decoder with its colorized and original features, the shallow levels with the
change that colorization made (z - x): shallow features locate objects, deep ones identify them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = ("1_1", "2_1", "3_1")  # encoder layers that feed the decoder, shallow to deep
VGG_CHANNELS = (64, 128, 256)


class Decoder(nn.Module):
    """Maps features of the three `LEVELS` to an RGB correction N×3×H×W (unit range, unbounded).

    Args:
        channels: Channels of the three levels, shallow to deep.
    """

    def __init__(self, channels: tuple[int, int, int] = VGG_CHANNELS) -> None:
        super().__init__()
        one, two, three = channels
        self.up3 = _conv(2 * three, two)
        self.mid2 = _conv(two, two)
        self.up2 = _conv(two, one)
        self.mid1 = _conv(one, one)
        self.rgb = _conv(one, 3)
        nn.init.zeros_(self.rgb.weight)
        assert self.rgb.bias is not None
        nn.init.zeros_(self.rgb.bias)

    def forward(self, content: dict[str, Tensor], colorized: dict[str, Tensor]) -> Tensor:
        """Decode.

        Args:
            content: Encoder features x of `LEVELS`, N×C×h×w at 1, 1/2 and 1/4 of the image.
            colorized: The same after colorization, z.
        """
        deep = torch.cat([colorized["3_1"], content["3_1"]], dim=1)
        x = _upsample(F.relu(self.up3(deep)))
        x = F.relu(self.mid2(x + colorized["2_1"] - content["2_1"]))
        x = _upsample(F.relu(self.up2(x)))
        x = F.relu(self.mid1(x + colorized["1_1"] - content["1_1"]))
        correction: Tensor = self.rgb(x)
        return correction


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _upsample(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
