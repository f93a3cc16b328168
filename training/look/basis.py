"""Start of the LUT basis: mean and principal components of real gradings."""

from __future__ import annotations

import torch
from torch import Tensor

from training.look.lut import identity_lut
from training.look.network import BASIS, SIDE


def principal_basis(luts: Tensor, density: Tensor) -> Tensor:
    """Return the mean offset of gradings and their principal components, `BASIS`×3×9×9×9.

    Args:
        luts: K×3×17×17×17 gradings.
        density: 9×9×9 weights of the colors.

    Each component is scaled to one standard deviation of its weight. Where K is smaller than
    `BASIS`, the rest is small noise.
    """
    offsets = (luts[..., ::2, ::2, ::2] - identity_lut(SIDE)) * density.sqrt()
    mean = offsets.mean(0, keepdim=True)
    flat = (offsets - mean).flatten(1)
    _, spread, axes = torch.linalg.svd(flat, full_matrices=False)
    count = min(BASIS - 1, len(axes))
    parts = axes[:count] * (spread[:count, None] / len(luts) ** 0.5)
    basis = 0.01 * torch.randn(BASIS, 3, SIDE, SIDE, SIDE)
    basis[0] = mean[0]
    basis[1 : 1 + count] = parts.view(-1, 3, SIDE, SIDE, SIDE)
    return basis / density.sqrt()
