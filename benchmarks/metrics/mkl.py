"""MKL: closed-form linear color transport between two photos, the baseline for stylizers.

Monge–Kantorovich linear mapping of Pitié & Kokaram (2007): with RGB covariances C (content) and S (style),
T = C^(-1/2) (C^(1/2) S C^(1/2))^(1/2) C^(-1/2) maps one Gaussian to the other with minimal displacement.
Matrix roots are computed from eigenvalues.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NOISE: float = 1e-5  # on both diagonals, in unit range: keeps a photo of a single color finite


def transported(content: NDArray[np.uint8], style: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the content with the style's mean color and color covariance.

    Args:
        content: uint8 RGB (H, W, 3).
        style: uint8 RGB, any size.

    Returns:
        uint8 RGB (H, W, 3).
    """
    x, y = (picture.reshape(-1, 3) / 255.0 for picture in (content, style))
    cov_x, cov_y = (np.cov(colors.T) + NOISE * np.eye(3) for colors in (x, y))
    root = _power(cov_x, 0.5)
    inverse = _power(cov_x, -0.5)
    gain = inverse @ _power(root @ cov_y @ root, 0.5) @ inverse
    moved = (x - x.mean(0)) @ gain + y.mean(0)
    return np.asarray(np.rint(moved.clip(0, 1) * 255), np.uint8).reshape(content.shape)


def _power(matrix: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.maximum(values, 1e-12) ** exponent) @ vectors.T, np.float64)
