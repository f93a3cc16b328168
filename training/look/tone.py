"""The palette's tone curve: luma of the content → luma under the style, rising, bounded, smooth.

Computed from soft cumulative histograms, without sorting or loops over data, so that it exports to ONNX and
TFLite. Luma is in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

KNOTS = 65  # of histograms and curve
BLACK, WHITE, BRIGHTEST = 0.005, 0.995, 0.9995  # quantiles that count as black, white and brightest point
MIN_SLOPE, MAX_SLOPE = 0.35, 2.0
MAX_GAIN = 2.4  # of luma, with the stretch to black and white point
MAX_STRETCH = 1.6  # of the curve below and above its middle, to reach black and white point
MIN_DEVIATION = 0.03  # luma; bounds the gain of a flat picture
FLAT = 0.06**2  # variance of luma at which contrast is amplified half as much as it could be
BLUR = 5  # pixels of a thumbnail over which contrast counts as local
KEPT_CONTRAST = 0.95  # share of the lower local contrast of content and style that the usual slope keeps
TOE, SHOULDER = 0.04, 0.15  # luma over which a curve that leaves [0, 1] is rolled off


@dataclass(frozen=True)
class ToneOptions:
    """How closely the tone curve follows the style.

    Attributes:
        amount: Share of the way to the style's mean luma and contrast.
        shape: 0 for a straight line, 1 for histogram matching.
        lift: Share of the way up to a style's higher black point; a lower one is always reached for.
        dim: Share of the way down to a style's lower white point; a higher one is always reached for.
    """

    amount: float = 1.0
    shape: float = 0.5
    lift: float = 0.3
    dim: float = 0.8


class Luma(NamedTuple):
    """Statistics of the luma of N pictures: the shares of pixels below the knots, N×`KNOTS`; the rest N×1.

    `range` is 0 for a flat picture, near 1 for one of full contrast: what it lacks is not amplified.
    """

    shares: Tensor
    mean: Tensor
    deviation: Tensor
    range: Tensor
    local: Tensor
    black: Tensor
    white: Tensor
    brightest: Tensor


def measure(luma: Tensor) -> Luma:
    """Measure N×1×h×w luma."""
    pixels = luma.flatten(1)
    shares = shares_below(pixels)
    mean = pixels.mean(1, keepdim=True)
    deviation = _rms(pixels - mean)
    local = _rms((luma - F.avg_pool2d(luma, BLUR, 1, BLUR // 2, count_include_pad=False)).flatten(1))
    levels = [quantile(shares, torch.full_like(mean, level)) for level in (BLACK, WHITE, BRIGHTEST)]
    variance = deviation.square()
    spread = variance / (variance + FLAT)
    return Luma(shares, mean, deviation, spread, local, *levels)


def shares_below(values: Tensor) -> Tensor:
    """Return the share of N×P values in [0, 1] below each knot, N×`KNOTS`, counted softly."""
    at = torch.linspace(0, 1, KNOTS, device=values.device).view(1, -1, 1)
    return ((at - values.unsqueeze(1)) * (KNOTS - 1) + 0.5).clamp(0, 1).mean(2)


def _rms(values: Tensor) -> Tensor:
    return (values.square().mean(1, keepdim=True) + MIN_DEVIATION**2).sqrt()


def quantile(shares: Tensor, levels: Tensor) -> Tensor:
    """Return the luma (N×Q) below which N×Q shares of the pixels lie.

    Every interval between two knots adds the part of it that is darker than the level.
    """
    low, high = shares[:, None, :-1], shares[:, None, 1:]
    part = (levels.unsqueeze(2) - low) / (high - low).clamp(min=1e-6)
    return part.clamp(0, 1).sum(2) / (KNOTS - 1)


def evaluate(curve: Tensor, luma: Tensor) -> Tensor:
    """Return curves (N×`KNOTS`) at N×P lumas, linear between the knots."""
    place = luma.clamp(0, 1) * (KNOTS - 1)
    low = place.detach().floor().clamp(max=KNOTS - 2)
    below, above = (curve.gather(1, low.long() + step) for step in (0, 1))
    return below + (place - low) * (above - below)


def tone_curve(content: Luma, style: Luma, options: ToneOptions) -> Tensor:
    """Return the curve at the knots, N×`KNOTS`, rising, within [0, 1]."""
    at = torch.linspace(0, 1, KNOTS, device=content.mean.device).expand_as(content.shares)
    ratio = 1 + content.range * (style.deviation / content.deviation - 1)
    line = style.mean + ratio * (at - content.mean)
    kept = KEPT_CONTRAST * (style.local / content.local).clamp(max=1)
    usual = (1 + options.amount * (ratio - 1)).maximum(kept)
    goal = line + options.shape * content.range * (quantile(style.shares, content.shares) - line)
    goal = at + options.amount * (goal - at)
    share = content.shares.diff(dim=1)
    slopes = _slopes(goal, share, usual, kept)
    curve = F.pad(slopes.cumsum(1), (1, 0)) / (KNOTS - 1)
    middle = content.mean + options.amount * (style.mean - content.mean)
    centers = (curve[:, 1:] + curve[:, :-1]) / 2
    share = share / share.sum(1, keepdim=True).clamp(min=1e-6)
    curve = curve + middle - (share * centers).sum(1, keepdim=True)
    curve = _stretch(curve, middle, content, style, options, least=(kept / usual).clamp(max=1))
    return _roll_off(curve, content)


def _slopes(goal: Tensor, share: Tensor, usual: Tensor, kept: Tensor) -> Tensor:
    """Return smooth, bounded slopes between knots.

    Args:
        goal: The curve to approach, N×`KNOTS`.
        share: Share of the content's pixels in each interval.
        usual: Slope where the content has no pixels, N×1.
        kept: Slope below which local contrast would be lost, N×1.
    """
    usual = usual.clamp(MIN_SLOPE, MAX_SLOPE)
    raw = goal.diff(dim=1) * (KNOTS - 1)
    trust = share / (share + 0.2 / KNOTS)
    slopes = (usual + trust * (raw - usual)).unsqueeze(1)
    kernel = torch.tensor([1.0, 2.0, 3.0, 4.0, 3.0, 2.0, 1.0], device=goal.device).view(1, 1, -1) / 16
    for _ in range(2):
        slopes = F.conv1d(F.pad(slopes, (3, 3), mode="replicate"), kernel)
    return slopes.squeeze(1).clamp(MIN_SLOPE, MAX_SLOPE).maximum(kept)


def _stretch(
    curve: Tensor, middle: Tensor, content: Luma, style: Luma, o: ToneOptions, least: Tensor
) -> Tensor:
    """Move black and white point to where they belong, by a factor of at least `least` (N×1)."""
    low = content.black + (style.black - content.black) * _share(style.black > content.black, o.lift)
    high = content.white + (style.white - content.white) * _share(style.white < content.white, o.dim)
    dark, bright = evaluate(curve, content.black), evaluate(curve, content.white)
    below = ((middle - low) / (middle - dark).clamp(min=0.02)).clamp(max=MAX_STRETCH).maximum(least)
    above = ((high - middle) / (bright - middle).clamp(min=0.02)).clamp(max=MAX_STRETCH).maximum(least)
    steepest = curve.diff(dim=1).amax(1, keepdim=True) * (KNOTS - 1)
    highest = 1 + (MAX_GAIN - 1) * content.range
    below, above = (x.minimum(highest / steepest) for x in (below, above))
    away = curve - middle
    curve = middle + torch.where(away < 0, below * away, above * away)
    ceiling = torch.maximum(content.black, style.black)
    return curve - (evaluate(curve, content.black) - ceiling).clamp(min=0)


def _share(holds: Tensor, share: float) -> Tensor:
    """Return `share` where it holds, else 1."""
    return torch.where(holds, torch.full((), share, device=holds.device), torch.ones((), device=holds.device))


def _roll_off(curve: Tensor, content: Luma) -> Tensor:
    """Bend a curve that leaves [0, 1] within the content's range softly into it; slope 1 where it begins."""
    over = evaluate(curve, content.brightest) - (1 - SHOULDER)
    curve = 1 - _bend(1 - curve, SHOULDER, over)
    under = TOE - curve[:, :1]
    return _bend(curve, TOE, under).clamp(0, 1)


def _bend(distance: Tensor, knee: float, reach: Tensor) -> Tensor:
    """Compress distances to an end of the range: those from `knee` down to `knee - reach` reach down to 0."""
    past = (knee - distance).clamp(min=0)
    reach = reach.clamp(min=knee)
    bent = past / (1 + past * (1 / knee - 1 / reach))
    return torch.where(distance < knee, knee - bent, distance)
