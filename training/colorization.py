"""Colorization (paper section 3.3, Eq. 2): content features take on the style's statistics.

Eq. 2 as printed, z_k = sum_m (y_m - x_k) over the H·W style positions m, equals H·W·(mean(F_s) - x_k): a
first-order statistic, scaled by the number of positions. The modes:

``literal``   Eq. 2 as printed.
``mean``      Eq. 2 divided by H·W: the same at every resolution, hence trainable.
``residual``  x + strength·(mu_s - mu_c): the identity when style and content agree.
``moment``    mu_s + (sigma_s / sigma_c)·(x - mu_c): adds the second order per channel (AdaIN, Huang &
              Belongie 2017). The default.
``attention`` x + sum_m a_km (y_m - x_k) with a = softmax over m of the features' likeness: each place takes
              from the style what is like it. Eq. 2 over H·W is its limit for an endless temperature.

All take content features N×C×H×W and the style's per-channel mean and standard deviation, N×C each: the
style is needed only through its statistics (and, for `attention`, 8×8 tokens), computed once per style.
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

EPS = 1e-3  # of unit-RMS features: keeps a channel that is silent in the content from exploding


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

    All these modes are one gain and one shift a channel, so that colorizing is a single pass.
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
    """Return an image's features pooled to 8×8 places, N×64×C."""
    return F.adaptive_avg_pool2d(features.float(), TOKENS_SIDE).flatten(2).transpose(1, 2)


def attend(features: Tensor, tokens: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Return sum_m a_km (y_m - x_k), Eq. 2 over H·W with attention a in place of equal weights.

    Args:
        features: x, N×C×H×W.
        tokens: y, N×M×C.
        temperature: Of the softmax; endless = equal weights.
    """
    x = features.float().flatten(2)
    # Likeness of what is special in each: features less their mean over the image.
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
