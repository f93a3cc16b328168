"""Colorization (paper section 3.3, Eq. 2): transfer the style's statistics to the content features.

Eq. 2 as printed, z_k = sum_m (y_m - x_k) over the H·W style positions m, equals H·W·(mean(F_s) - x_k): a
first-order statistic, scaled by the number of positions. The modes:

``literal``   Eq. 2 as printed.
``mean``      Eq. 2 divided by H·W: the same at every resolution, and so trainable.
``residual``  x + strength·(mu_s - mu_c): the identity when style and content agree.
``moment``    mu_s + (sigma_s / sigma_c)·(x - mu_c): adds second-order statistics per channel (AdaIN, Huang &
              Belongie 2017). The default.
``attention`` x + sum_m a_km (y_m - x_k), where a is the softmax over m of the features' similarity: each
              position takes from similar positions of the style. For infinite temperature this is Eq. 2
              divided by H·W.

All modes take content features N×C×H×W and the per-channel mean and standard deviation of the style, N×C
each. These statistics (and 8×8 tokens for `attention`) are computed once per style.
"""

from __future__ import annotations

from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.options import ColorizationMode

TOKENS_SIDE = 8
TOKENS = TOKENS_SIDE**2  # of a style image, for `attention`
TEMPERATURE = 0.1  # of cosine similarities

EPS = 1e-3  # relative to unit-RMS features; bounds the gain of a channel that is constant in the content


def channel_moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (N×C each) over the positions of N×C×H×W features."""
    flat = features.float().flatten(2)
    mean = flat.mean(dim=2)
    variance = flat.square().mean(dim=2) - mean.square()
    return mean, (variance.clamp(min=0) + EPS**2).sqrt()


def colorize(
    features: Tensor, mean_s: Tensor, std_s: Tensor, mode: ColorizationMode, strength: float = 1.0
) -> Tensor:
    """Colorize N×C×H×W `features` with style moments (N×C each) and return the same shape and dtype.

    Each of these modes is one gain and one shift per channel, so a single pass is enough.
    """
    gain, shift = _gain_and_shift(features, mean_s, std_s, mode, strength)
    dtype = features.dtype
    return features * gain[:, :, None, None].to(dtype) + shift[:, :, None, None].to(dtype)


def _gain_and_shift(
    x: Tensor, mean_s: Tensor, std_s: Tensor, mode: ColorizationMode, strength: float
) -> tuple[Tensor, Tensor]:
    one = torch.ones_like(mean_s)
    if mode == "literal":
        places = x.shape[2] * x.shape[3]
        return -places * one, places * mean_s
    if mode == "mean":
        return -one, mean_s
    mean_c, std_c = channel_moments(x)
    if mode == "residual":
        return one, strength * (mean_s - mean_c)
    gain = std_s / (std_c + EPS)
    return gain, mean_s - gain * mean_c


def style_tokens(features: Tensor) -> Tensor:
    """Return an image's features pooled to 8×8 positions, N×64×C."""
    return F.adaptive_avg_pool2d(features.float(), TOKENS_SIDE).flatten(2).transpose(1, 2)


def attend(features: Tensor, tokens: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Return sum_m a_km (y_m - x_k): Eq. 2 divided by H·W, with attention a instead of equal weights.

    Args:
        features: x, N×C×H×W.
        tokens: y, N×M×C.
        temperature: Of the softmax; an infinite one means equal weights.
    """
    x = features.float().flatten(2)
    # Similarity of deviations: features minus their mean over the image.
    query = F.normalize(x - x.mean(dim=2, keepdim=True), dim=1)
    key = F.normalize(tokens - tokens.mean(dim=1, keepdim=True), dim=2)
    weights = torch.softmax(key @ query / temperature, dim=1)
    return (tokens.transpose(1, 2) @ weights - x).view_as(features)


class Colorization(nn.Module):
    """`colorize` with its mode fixed.

    Raises:
        ValueError: Unknown mode.
    """

    def __init__(self, mode: ColorizationMode) -> None:
        super().__init__()
        if mode not in get_args(ColorizationMode):
            raise ValueError(f"colorization {mode!r} is not one of {', '.join(get_args(ColorizationMode))}")
        self.mode: ColorizationMode = mode

    def forward(
        self, features: Tensor, mean_s: Tensor, std_s: Tensor, tokens: Tensor | None = None
    ) -> Tensor:
        """See `colorize`; with `tokens` (N×M×C), `attend`."""
        if tokens is not None:
            return features + attend(features, tokens).to(features.dtype)
        return colorize(features, mean_s, std_s, "moment" if self.mode == "attention" else self.mode)
