from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.color import (
    NOISE_VARIANCE,
    apply_color,
    color_moments,
    square_roots,
    style_color,
    transport,
)


def power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    result: np.ndarray = (vectors * values**exponent) @ vectors.T
    return result


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.floats(-4.5, 0))
def test_square_roots_match_eigenvalues(seed: int, log_smallest: float) -> None:
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    matrix = (basis * 10 ** rng.uniform(log_smallest, 0, 3)) @ basis.T
    root, inverse = square_roots(torch.tensor(matrix, dtype=torch.float32)[None])
    np.testing.assert_allclose(root[0].numpy(), power(matrix, 0.5), atol=2e-4)
    np.testing.assert_allclose(inverse[0].numpy() @ power(matrix, 0.5), np.eye(3), atol=2e-2)


def test_transport_is_the_closed_form(coffee: torch.Tensor, cat: torch.Tensor) -> None:
    mean_c, cov_c = color_moments(coffee)
    mean_s, cov_s = color_moments(cat)
    got = transport(mean_c, cov_c, *style_color(cat))[0].numpy()
    a = cov_c[0].double().numpy() + NOISE_VARIANCE * np.eye(3)
    b = cov_s[0].double().numpy() + NOISE_VARIANCE * np.eye(3)
    # An equivalent formula: T = A^-1/2 (A^1/2 B A^1/2)^1/2 A^-1/2 (Pitié & Kokaram 2007, Eq. 19).
    expected = power(a, -0.5) @ power(power(a, 0.5) @ b @ power(a, 0.5), 0.5) @ power(a, -0.5)
    np.testing.assert_allclose(got[:, :3], expected, atol=2e-3)
    np.testing.assert_allclose(got[:, 3], mean_s[0] - expected @ mean_c[0].numpy(), atol=2e-3)


def test_the_result_has_the_styles_moments(coffee: torch.Tensor, cat: torch.Tensor) -> None:
    moved = apply_color(transport(*color_moments(coffee), *style_color(cat)), coffee)
    mean, cov = color_moments(moved)
    mean_s, cov_s = color_moments(cat)
    torch.testing.assert_close(mean, mean_s, atol=1e-3, rtol=0)
    torch.testing.assert_close(cov, cov_s, atol=1e-3, rtol=0)


def test_moments_match_numpy(cat: torch.Tensor) -> None:
    mean, cov = color_moments(cat)
    flat = cat[0].flatten(1).double().numpy()
    np.testing.assert_allclose(mean[0], flat.mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(cov[0], np.cov(flat, bias=True), atol=1e-6)


def test_a_flat_photo_has_a_bounded_gain(cat: torch.Tensor) -> None:
    flat = torch.full((1, 3, 8, 8), 0.5)
    color_map = transport(*color_moments(flat), *style_color(cat))
    assert torch.isfinite(color_map).all()
    assert color_map[:, :, :3].abs().max() < 0.5 * 255 / 2.5
