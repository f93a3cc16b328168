"""Random gradings to train on, all as LUTs: real ones, mixtures and permutations of them, and synthetic ones.

Every grading of a batch is an N×3×17×17×17 LUT, so that compositions are LUT operations too.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.look.color_statistics import LUMA
from training.look.lut import compose, identity_lut, resample

CURVE_KNOTS = 5  # of a synthetic tone curve
SYNTHETIC_SIDE = 9  # nodes at which a synthetic grading is computed
WARP_SIDE = 4  # nodes of a synthetic random LUT, few so that it is smooth


class GradingSampler:
    """Draws gradings: 55 % real LUTs as they are, 30 % varied ones, 10 % synthetic, 5 % none.

    Args:
        luts: Real LUTs, K×3×S×S×S.
    """

    def __init__(self, luts: Tensor) -> None:
        self.luts = luts
        self.side = luts.shape[-1]
        self.identity = identity_lut(self.side)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return `count` gradings, count×3×S×S×S in [0, 1]."""
        gradings = self._pick(count, generator)
        varied, synthetic = round(0.3 * count), round(0.1 * count)
        rest = varied + synthetic
        gradings[:varied] = self._vary(gradings[:varied], generator)
        gradings[varied:rest] = synthetic_grading(synthetic, self.side, generator, strength=1.0)
        gradings[rest : rest + round(0.05 * count)] = self.identity
        return gradings[torch.randperm(count, generator=generator)].clamp(0, 1)

    def _pick(self, count: int, generator: torch.Generator) -> Tensor:
        return self.luts[torch.randint(len(self.luts), (count,), generator=generator)]

    def _vary(self, luts: Tensor, generator: torch.Generator) -> Tensor:
        """Mix with another LUT, change the strength, permute channels, add a weak synthetic grading."""
        count = len(luts)
        draw = torch.rand(5, count, 1, 1, 1, 1, generator=generator)
        mixed = luts + (draw[0] < 0.5) * draw[1] * (self._pick(count, generator) - luts)
        strength = torch.where(draw[2] < 0.5, 0.3 + 0.9 * draw[4], 1.0)
        scaled = (self.identity + strength * (mixed - self.identity)).clamp(0, 1)
        order = torch.randperm(3, generator=generator).tolist()
        permuted = scaled[:, order].permute(0, 1, *[4 - order[2 - axis] for axis in range(3)])
        scaled = torch.where(draw[3] < 0.2, permuted, scaled)
        weak = synthetic_grading(count, self.side, generator, strength=0.3)
        return torch.where(draw[3] > 0.6, compose(scaled, weak), scaled)


def synthetic_grading(count: int, side: int, generator: torch.Generator, strength: float) -> Tensor:
    """Return random tone curves, saturations, split tones and warps as count×3×side×side×side LUTs."""
    identity = identity_lut(SYNTHETIC_SIDE)

    def normal(*shape: int) -> Tensor:
        used = torch.rand(count, *[1] * 4, generator=generator) < 0.6
        return strength * used * torch.randn(count, *shape, *[1] * (4 - len(shape)), generator=generator)

    luma_weights = torch.tensor(LUMA).view(3, 1, 1, 1)
    x = identity.clamp(min=1e-4) ** (2.0 ** (0.4 * normal(1) + 0.12 * normal(3)))
    x = _curve(x, 0.06 * normal(3, CURVE_KNOTS) + 0.06 * normal(1, CURVE_KNOTS))
    luma = (luma_weights * x).sum(1, keepdim=True)
    x = luma + 2.0 ** (0.6 * normal(1)) * (x - luma)
    x = x + 0.06 * (normal(3) * (1 - luma) ** 2 + normal(3) * luma**2)
    warp = 0.05 * normal(3, WARP_SIDE**3, 1, 1).reshape(count, 3, WARP_SIDE, WARP_SIDE, WARP_SIDE)
    return resample((x + resample(warp, SYNTHETIC_SIDE)).clamp(0, 1), side)


def _curve(x: Tensor, offsets: Tensor) -> Tensor:
    """Add piecewise linear curves to the channels of x, N×3×S×S×S; offsets at K knots are N×3×K×1×1."""
    knots = offsets.shape[2]
    position = x.clamp(0, 1) * (knots - 1)
    total = x
    for index in range(knots):
        weight = (1 - (position - index).abs()).clamp(min=0)
        total = total + weight * offsets[:, :, index, :, :, None]
    return total
