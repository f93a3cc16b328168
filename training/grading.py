"""The global grade: one color transform for the whole picture, refined in a few rounds.

The closed-form transport (`training.color`) matches mean and covariance of RGB values, which is not enough to
match the light of a photograph. The grade adds, per picture,

    z = (I + D)·t(x) + d      12 parameters on top of the transport t,
    y = curve(z)              a rising tone curve per channel, 8 straight segments,
    detail                    one factor on local contrast, applied by the finish.

Like a colorist, each round grades, looks at the result and corrects it: it encodes the graded picture at half
size, compares its feature statistics with the style's, and a small network corrects the parameters. Every
round uses the same network. Gradients do not pass through the encoding; since the corrections add up, the
loss reaches each of them directly.

Images are N×3×H×W float32 RGB in the unit range.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.color import apply_color

SEGMENTS = 8  # of a tone curve
KNOTS = SEGMENTS + 1
PARAMETERS = 12 + 3 * SEGMENTS + 1
HIDDEN = 256
MAX_LOG_SLOPE = 1.2  # slopes are between 0.3 and 3.3, so a curve always rises
MAX_DETAIL = 0.6  # log of the largest factor on local contrast, 1.8
MIN_DETAIL = 0.3  # minus log of the smallest factor, 0.74; smaller ones look like haze

Moments = list[tuple[Tensor, Tensor]]
Look = Callable[[Tensor], Moments]


class Grade(NamedTuple):
    """The grades of a batch.

    Attributes:
        affine: N×3×4, `[A | b]` in the unit range, including the transport.
        slopes: N×3×8, slopes of the tone curve's segments.
        detail: N, factor on local contrast.
    """

    affine: Tensor
    slopes: Tensor
    detail: Tensor


def apply_grade(grade: Grade, image: Tensor) -> Tensor:
    """Apply affine part and tone curve to an image (not clamped; the finish applies the detail)."""
    return tone_curve(grade.slopes, apply_color(grade.affine, image))


def tone_curve(slopes: Tensor, image: Tensor) -> Tensor:
    """Apply rising piecewise linear curves (slopes N×3×8) to N×3×…; outside [0, 1] the slope is 1."""
    shape = (*slopes.shape[:2], *[1] * (image.dim() - 2))
    total = image.clamp(max=0) + (image - 1).clamp(min=0)
    for i in range(SEGMENTS):
        rise = (image * SEGMENTS - i).clamp(0, 1) / SEGMENTS
        total = total + slopes[:, :, i].view(shape) * rise
    return total


def curve_slope(slopes: Tensor, values: Tensor) -> Tensor:
    """Return the curve's slope around `values` (N×3×…), as a chord over half a segment on each side."""
    half = 0.5 / SEGMENTS
    return (tone_curve(slopes, values + half) - tone_curve(slopes, values - half)) / (2 * half)


def tones(image: Tensor) -> Tensor:
    """Return the distribution of an image's values over the curve's knots, N×27; 1 in total per channel."""
    flat = image.flatten(2) * SEGMENTS
    shares = [(1 - (flat - k).abs()).clamp(min=0).mean(dim=2) for k in range(KNOTS)]
    return torch.stack(shares, dim=2).flatten(1)


class Grading(nn.Module):
    """Predicts the grade of a content image for a style. Untrained, it is the closed-form transport.

    Args:
        channels: Channels of the encoder's levels whose statistics are compared.
        rounds: Number of rounds.
    """

    def __init__(self, channels: Sequence[int], rounds: int) -> None:
        super().__init__()
        self.rounds = rounds
        inputs = 2 * sum(channels) + 2 * 3 * KNOTS + 12 + PARAMETERS
        self.compare = nn.Linear(inputs, HIDDEN)
        self.round_bias = nn.Parameter(torch.zeros(max(rounds, 1), HIDDEN))
        self.think = nn.Linear(HIDDEN, HIDDEN)
        self.correct = nn.Linear(HIDDEN, PARAMETERS)
        nn.init.zeros_(self.correct.weight)
        nn.init.zeros_(self.correct.bias)

    def forward(
        self, content: Tensor, transport: Tensor, style_tones: Tensor, style: Moments, look: Look
    ) -> Grade:
        """Predict the grade.

        Args:
            content: N×3×h×w, at the size at which statistics are compared.
            transport: Closed-form color map, N×3×4.
            style_tones: `tones` of the style image, N×27.
            style: Mean and deviation of the style's features by level (N×C each).
            look: Returns the same statistics of an image.
        """
        numbers = content.new_zeros(content.shape[0], PARAMETERS)
        for k in range(self.rounds):
            with torch.no_grad():
                picture = apply_grade(as_grade(numbers, transport), content).clamp(0, 1)
                seen = _differences(look(picture), style)
                spread = tones(picture)
            facts = [*seen, spread - style_tones, style_tones, transport.flatten(1), numbers.detach()]
            hidden = torch.relu(self.compare(torch.cat(facts, dim=1)) + self.round_bias[k])
            hidden = hidden + torch.relu(self.think(hidden))
            numbers = numbers + self.correct(hidden)
        return as_grade(numbers, transport)


def as_grade(numbers: Tensor, transport: Tensor) -> Grade:
    """Build a grade from its parameters, N×37, on top of a transport, N×3×4; zeros change nothing."""
    change = numbers[:, :12].view(-1, 3, 4)
    rotated = change[:, :, :3] @ transport
    shift = torch.cat([torch.zeros_like(change[:, :, :3]), change[:, :, 3:]], dim=2)
    slopes = torch.exp(MAX_LOG_SLOPE * torch.tanh(numbers[:, 12:-1] / MAX_LOG_SLOPE)).view(-1, 3, SEGMENTS)
    detail = numbers[:, -1]
    crisper = MAX_DETAIL * torch.tanh(detail.clamp(min=0) / MAX_DETAIL)
    softer = MIN_DETAIL * torch.tanh(detail.clamp(max=0) / MIN_DETAIL)
    return Grade(transport + rotated + shift, slopes, torch.exp(crisper + softer))


def _differences(seen: Moments, style: Moments) -> list[Tensor]:
    """Return dimensionless differences: of means in units of deviation, and log ratios of deviations."""
    facts = []
    for (mean, std), (mean_s, std_s) in zip(seen, style, strict=True):
        facts.append(((mean_s - mean) / (std_s + std + 0.05)).clamp(-3, 3))
        facts.append(torch.log((std_s + 0.02) / (std + 0.02)).clamp(-3, 3))
    return facts
