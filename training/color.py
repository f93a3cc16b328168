"""Closed-form color transport between two images' RGB statistics (Monge–Kantorovich linear, MKL).

The map t(x) = T (x - mu_c) + mu_s with T = S (S C S)^(-1/2) S and S = (style covariance)^(1/2) transforms a
Gaussian with covariance C into that of the style with the least movement of colors (Pitié & Kokaram 2007).
Square roots are computed by Newton–Schulz iteration on 3×3 matrices, because an exported graph can run it,
unlike an SVD or a Cholesky decomposition.

Images are N×3×H×W float32 RGB in [0, 1]; maps are N×3×4, `[T | shift]`, in the same unit range.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Added to each covariance: 2.5 gray levels of noise, which bound the gain of a flat image.
NOISE_VARIANCE = (2.5 / 255) ** 2
# Each iteration multiplies a small eigenvalue by about 2.25; 24 of them converge down to 1e-6 of the trace.
ITERATIONS = 24


def color_moments(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean (N×3) and covariance (N×3×3) of an image's RGB values."""
    flat = image.flatten(2)
    mean = flat.mean(dim=2)
    centered = flat - mean.unsqueeze(2)
    rows = [(centered[:, i : i + 1] * centered).mean(dim=2) for i in range(3)]
    return mean, torch.stack(rows, dim=1)


def square_roots(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the square root and inverse square root of symmetric positive definite N×3×3 matrices.

    Coupled Newton–Schulz iteration (Higham 2008, Eq. 6.35) on the matrix divided by its trace.
    """
    eye = torch.eye(3, dtype=matrix.dtype, device=matrix.device).unsqueeze(0)
    trace = (matrix * eye).sum(dim=(1, 2), keepdim=True)
    root, inverse = matrix / trace, eye.expand_as(matrix)
    for _ in range(ITERATIONS):
        step = (3 * eye - inverse @ root) / 2
        root, inverse = root @ step, step @ inverse
    return root * trace.sqrt(), inverse / trace.sqrt()


def transport(mean_c: Tensor, cov_c: Tensor, mean_s: Tensor, root_s: Tensor) -> Tensor:
    """Return the N×3×4 MKL map from content statistics to style statistics.

    Args:
        mean_c: Content mean, N×3.
        cov_c: Content covariance, N×3×3.
        mean_s: Style mean, N×3.
        root_s: Square root of the style's (regularized) covariance, N×3×3.
    """
    noise = NOISE_VARIANCE * torch.eye(3, dtype=cov_c.dtype, device=cov_c.device)
    middle = root_s @ (cov_c + noise) @ root_s
    _, inverse_root = square_roots(middle)
    gain = root_s @ inverse_root @ root_s
    shift = mean_s - (gain * mean_c.unsqueeze(1)).sum(dim=2)
    return torch.cat([gain, shift.unsqueeze(2)], dim=2)


def style_color(style: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean (N×3) and the covariance root (N×3×3) of a style image, for `transport`."""
    mean, cov = color_moments(style)
    noise = NOISE_VARIANCE * torch.eye(3, dtype=cov.dtype, device=cov.device)
    return mean, square_roots(cov + noise)[0]


def apply_color(color_map: Tensor, image: Tensor) -> Tensor:
    """Apply one N×3×4 map to every pixel of an image (not clamped)."""
    flat = image.flatten(2)
    rows = [(color_map[:, i, :3].unsqueeze(2) * flat).sum(dim=1) + color_map[:, i, 3:] for i in range(3)]
    return torch.stack(rows, dim=1).view_as(image)
