"""Meta-smoothing (paper section 3.3, Eq. 3 and 4): upscale by any r > 0 and smooth in one learned step.

Eq. 3: I^r = P(I, W_u^r) * W_s, where P is a deconvolution with kernel W_u^r and W_s a convolution to N_s
maps; a 1×1 convolution maps these to RGB. Eq. 4: W_u^r = Q(r) * W_u^1, where Q(r) is "a matrix filled with
r". It can be read in two ways:

``literal``  Elementwise, r·W: a transposed convolution of stride r with gain 1/r (r times the taps, over r²
             phases) and 43–60 % checkerboard. For integer r only. For reproduction of the paper.
``box``      As a convolution, like in Eq. 3: W convolved with an r×r box, normalized to gain 1. A transposed
             convolution of stride r with it equals nearest-neighbor upsampling followed by the 5×5
             convolution. For other r > 0, a resize followed by the same convolution. The default.

Images are N×3×H×W in the unit range; outputs are round(r·H) × round(r·W).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KERNEL = 5  # H_u = W_u = H_s = W_s = 5, paper section 4.2
UpscalingMode = Literal["literal", "box"]


def scaled_size(height: int, width: int, r: float) -> tuple[int, int]:
    """Return round(r·height), round(r·width), at least 1 each.

    Raises:
        ValueError: r is not a positive number.
    """
    if not 0 < r < float("inf"):
        raise ValueError(f"upscaling factor r = {r} must be a positive number")
    return max(1, round(r * height)), max(1, round(r * width))


def upscale(image: Tensor, kernel: Tensor, r: float, mode: UpscalingMode = "box") -> Tensor:
    """Return P(image, W_u^r): the image upscaled by r with the meta kernel W_u^1.

    Args:
        image: N×C×H×W.
        kernel: W_u^1, C_out×C×5×5.
        r: Upscaling factor.
        mode: Interpretation of Eq. 4.

    Raises:
        ValueError: r is not positive, or not an integer in ``literal`` mode.
    """
    size = scaled_size(image.shape[2], image.shape[3], r)
    if mode == "literal":
        return _literal(image, kernel, r)
    if r != 1:
        whole = float(r).is_integer()
        image = F.interpolate(image, size=size, mode="nearest") if whole else _resize(image, size)
    return F.conv2d(F.pad(image, (2, 2, 2, 2), mode="replicate"), kernel)


class MetaSmoothing(nn.Module):
    """Eq. 3 with learned W_u^1 and W_s; initialized as the identity at r = 1.

    Args:
        maps: N_s, feature maps of W_s, at least 3.
    """

    def __init__(self, maps: int = 16) -> None:
        super().__init__()
        self.upscaling = nn.Parameter(_delta(3, 3))
        self.smoothing = nn.Parameter(
            torch.cat([_delta(3, 3), 0.01 * torch.randn(maps - 3, 3, KERNEL, KERNEL)])
        )
        self.to_rgb = nn.Parameter(torch.eye(3, maps).view(3, maps, 1, 1))

    def forward(self, image: Tensor, r: float = 1.0, mode: UpscalingMode = "box") -> Tensor:
        """Upscale N×3×H×W by `r` and smooth."""
        x = upscale(image, self.upscaling, r, mode)
        maps = F.conv2d(F.pad(x, (2, 2, 2, 2), mode="replicate"), self.smoothing)
        return F.conv2d(maps, self.to_rgb)


def _literal(image: Tensor, kernel: Tensor, r: float) -> Tensor:
    if not float(r).is_integer():
        raise ValueError(f"literal Eq. 4 needs an integer upscaling factor, not {r}: use mode='box'")
    stride = int(r)
    # Flipped, so that r = 1 is the convolution with W_u^1 of Eq. 4.
    weight = (stride * kernel).flip((2, 3)).transpose(0, 1)
    return F.conv_transpose2d(image, weight, stride=stride, padding=KERNEL // 2, output_padding=stride - 1)


def _resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    smaller = size[0] < image.shape[2]
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=smaller)


def _delta(outputs: int, inputs: int) -> Tensor:
    kernel = torch.zeros(outputs, inputs, KERNEL, KERNEL)
    for channel in range(min(outputs, inputs)):
        kernel[channel, channel, KERNEL // 2, KERNEL // 2] = 1
    return kernel
