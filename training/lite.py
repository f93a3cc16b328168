"""The lite encoder: a small convolutional network instead of VGG, for CPUs and phones.

Its three levels have the resolutions of VGG's (1, 1/2 and 1/4 of the image), which the decoder mirrors, for a
hundredth of the work: about 7,300 multiply-adds per pixel. It is trained with the rest of the stylizer, with
the larger variant as teacher.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.vgg import mixed_precision

LITE_CHANNELS = (16, 32, 64)


class LiteEncoder(nn.Module):
    """A trainable replacement for `VggEncoder` with the levels 1_1, 2_1 and 3_1.

    Args:
        mixed: Run the convolutions in bfloat16.
    """

    def __init__(self, *, mixed: bool = False) -> None:
        super().__init__()
        self.mixed = mixed
        one, two, three = LITE_CHANNELS
        self.level1 = nn.Conv2d(3, one, 3, padding=1)
        self.level2 = nn.Conv2d(one, two, 3, stride=2, padding=1)
        self.level2_more = nn.Conv2d(two, two, 3, padding=1)
        self.level3 = nn.Conv2d(two, three, 3, stride=2, padding=1)
        self.level3_more = nn.Conv2d(three, three, 3, padding=1)

    def forward(self, image: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        """Encode `image` (N×3×H×W, RGB in [0, 1]) and return the `wanted` levels after their ReLU."""
        x = 4 * (image - 0.45)
        if self.mixed:
            x = x.contiguous(memory_format=torch.channels_last)
        with mixed_precision(x, self.mixed):
            one = F.relu(self.level1(x))
            two = F.relu(self.level2_more(F.relu(self.level2(one))))
            three = F.relu(self.level3_more(F.relu(self.level3(two))))
        found = {"1_1": one, "2_1": two, "3_1": three}
        return {name: found[name] for name in wanted}
