"""Colorization (paper section 3.3, Eq. 2): content features take on the style's statistics.

Eq. 2 as printed, z_k = sum_m (y_m - x_k) over the H·W style positions m, equals H·W·(mean(F_s) - x_k): a
first-order statistic, scaled by the number of positions. The modes:

``literal``   Eq. 2 as printed.
``mean``      Eq. 2 divided by H·W: the same at every resolution, hence trainable.
``residual``  x + strength·(mu_s - mu_c): the identity when style and content agree.
``moment``    mu_s + (sigma_s / sigma_c)·(x - mu_c): adds the second order per channel (AdaIN, Huang &
              Belongie 2017). The default.

All take content features N×C×H×W and the style's per-channel mean and standard deviation, N×C each: the
style is needed only through its statistics, so they can be computed once per style.
"""

from __future__ import annotations

from typing import get_args

from torch import Tensor, nn

from training.options import ColorizationMode

EPS = 1e-3  # of unit-RMS features: keeps a channel that is silent in the content from exploding


def channel_moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (N×C each) over the positions of N×C×H×W features."""
    flat = features.float().flatten(2)
    mean = flat.mean(dim=2)
    variance = (flat - mean.unsqueeze(2)).square().mean(dim=2)
    return mean, (variance + EPS**2).sqrt()


def colorize(
    features: Tensor, mean_s: Tensor, std_s: Tensor, mode: ColorizationMode, strength: float = 1.0
) -> Tensor:
    """Colorize N×C×H×W `features` with style moments (N×C each) and return the same shape."""
    x = features.float()
    target = mean_s[:, :, None, None]
    if mode == "literal":
        return x.shape[2] * x.shape[3] * (target - x)
    if mode == "mean":
        return target - x
    mean_c, std_c = channel_moments(x)
    if mode == "residual":
        return x + strength * (target - mean_c[:, :, None, None])
    gain = (std_s / (std_c + EPS))[:, :, None, None]
    return target + gain * (x - mean_c[:, :, None, None])


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

    def forward(self, features: Tensor, mean_s: Tensor, std_s: Tensor) -> Tensor:
        """See `colorize`."""
        return colorize(features, mean_s, std_s, self.mode)
