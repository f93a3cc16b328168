"""The TensorFlow functions of the lite stylizer's graphs, run as they are, against formulas and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from export.kernels.convert import tensorflow
from export.kernels.lite_color import as_grade, curve_slope, square_roots, tone_curve
from export.kernels.lite_colorization import MODES, Moments, colorize
from export.kernels.lite_fit import fit_map
from training import affine, colorization, grading

RNG = np.random.default_rng(5)


def test_square_roots_are_those_of_the_eigenvalues() -> None:
    tf = tensorflow()
    half = RNG.normal(size=(3, 3)) * (0.3, 0.1, 0.01)
    matrix = half.T @ half + 1e-4 * np.eye(3)
    root, inverse = square_roots(tf.constant(matrix[None], tf.float32))
    values, vectors = np.linalg.eigh(matrix)
    for found, power in ((root, 0.5), (inverse, -0.5)):
        expected = vectors * values**power @ vectors.T
        np.testing.assert_allclose(found[0], expected, atol=1e-3 * np.abs(expected).max())


def grade_pair(numbers: np.ndarray) -> tuple[grading.Grade, Any]:
    """The same grade in PyTorch and in TensorFlow, on an arbitrary transport."""
    transport = np.concatenate([np.eye(3) + RNG.normal(0, 0.2, (3, 3)), RNG.normal(0, 0.1, (3, 1))], axis=1)
    there = grading.as_grade(torch.tensor(numbers[None]).float(), torch.tensor(transport[None]).float())
    tf = tensorflow()
    gain, shift = (tf.constant(part[None], tf.float32) for part in (transport[:, :3], transport[:, 3]))
    return there, as_grade(tf.constant(numbers[None], tf.float32), gain, shift)


def nchw(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture).permute(0, 3, 1, 2)


def test_a_grade_is_read_and_its_curve_is_piecewise_linear() -> None:
    there, here = grade_pair(RNG.normal(0, 0.5, 37))
    np.testing.assert_allclose(here.matrix, there.affine[:, :, :3], atol=1e-6)
    np.testing.assert_allclose(here.shift, there.affine[:, :, 3], atol=1e-6)
    np.testing.assert_allclose(here.detail[0], there.detail, atol=1e-6)
    values = np.linspace(-0.5, 1.5, 300, dtype=np.float32).reshape(1, 10, 10, 3)
    found = np.array(tone_curve(here, tensorflow().constant(values)))
    for channel, slopes in enumerate(there.slopes[0].numpy()):
        knots = np.arange(-8, 17) / 8
        rises = np.concatenate([np.ones(8), slopes, np.ones(8)]) / 8
        heights = np.concatenate([[0], np.cumsum(rises)]) - 1
        expected = np.interp(values[..., channel], knots, heights)
        np.testing.assert_allclose(found[..., channel], expected, atol=1e-5)
    slope = grading.curve_slope(there.slopes, nchw(values)).permute(0, 2, 3, 1)
    np.testing.assert_allclose(curve_slope(here, values), slope, atol=1e-4)


def test_the_fit_is_that_of_training() -> None:
    there, here = grade_pair(RNG.normal(0, 0.3, 37))
    content, stylized = (RNG.random((1, 32, 48, 3), np.float32) for _ in range(2))
    content[:, :16, :24] = 0.4  # a flat corner
    matrix, shift = there.affine[:, :, :3], there.affine[:, :, 3]

    def gain(colors: torch.Tensor) -> torch.Tensor:
        graded = torch.einsum("nij,njhw->nihw", matrix, colors) + shift[:, :, None, None]
        return grading.curve_slope(there.slopes, graded).unsqueeze(2) * matrix[:, :, :, None, None]

    expected = affine.fit_map(nchw(content), nchw(stylized), gain, 8, 2e-3, there.detail)
    tf = tensorflow()
    found = fit_map(tf.constant(content), tf.constant(stylized), here, 8, 2e-3)
    np.testing.assert_allclose(found, expected.permute(0, 2, 3, 1), atol=1e-3)


@pytest.mark.parametrize("mode", MODES)
def test_colorizations_are_those_of_training(mode: colorization.ColorizationMode) -> None:
    features, mean, deviation = (RNG.random(shape, np.float32) for shape in ((1, 6, 9, 5), (1, 5), (1, 5)))
    expected = colorization.colorize(nchw(features), torch.tensor(mean), torch.tensor(deviation), mode)
    tf = tensorflow()
    found = colorize(tf.constant(features), Moments(mean, deviation), mode)
    np.testing.assert_allclose(found, expected.permute(0, 2, 3, 1), atol=1e-4)
