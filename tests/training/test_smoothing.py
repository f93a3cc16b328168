from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from training.smoothing import MetaSmoothing, upscale


def deconvolution(image: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """Return a deconvolution by its definition: the sum of the source pixels' kernels, `stride` apart."""
    height, width = image.shape
    size = kernel.shape[0]
    out = np.zeros((stride * (height - 1) + size, stride * (width - 1) + size))
    for i in range(height):
        for j in range(width):
            out[i * stride : i * stride + size, j * stride : j * stride + size] += image[i, j] * kernel
    return out


def convolve_full(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    out = np.zeros((a.shape[0] + b.shape[0] - 1, a.shape[1] + b.shape[1] - 1))
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            out[i : i + b.shape[0], j : j + b.shape[1]] += a[i, j] * b
    return out


@pytest.mark.parametrize("r", [2, 3, 4])
def test_the_box_mode_is_one_deconvolution(r: int) -> None:
    """`upscale` equals a deconvolution of stride r with W_u^r = box(r) * W_u^1."""
    rng = np.random.default_rng(r)
    image, kernel = rng.random((7, 6)), rng.random((5, 5))
    enlarged = deconvolution(image, convolve_full(np.ones((r, r)), kernel[::-1, ::-1]), r)
    expected = enlarged[2 : 2 + 7 * r, 2 : 2 + 6 * r]
    got = upscale(torch.tensor(image)[None, None], torch.tensor(kernel)[None, None], r).numpy()[0, 0]
    # `upscale` replicates the border, where the plain deconvolution has zeros: compare inside.
    np.testing.assert_allclose(got[2:-2, 2:-2], expected[2:-2, 2:-2])


@pytest.mark.parametrize("r", [1, 2, 3])
def test_the_literal_mode_is_a_scaled_deconvolution(r: int) -> None:
    rng = np.random.default_rng(r)
    image, kernel = rng.random((5, 6)), rng.random((5, 5))
    weight = kernel if r == 1 else r * kernel
    expected = deconvolution(image, weight[::-1, ::-1], r)[2 : 2 + 5 * r, 2 : 2 + 6 * r]
    got = upscale(torch.tensor(image)[None, None], torch.tensor(kernel)[None, None], r, "literal").numpy()[
        0, 0
    ]
    inside = slice(2, -2 if r == 1 else 5 * (r - 1) - r)
    np.testing.assert_allclose(got[inside, inside], expected[inside, inside])


def test_box_keeps_the_gain_and_literal_does_not() -> None:
    """For a constant image and a kernel of sum 1, `box` is flat and `literal` has gain 1/r and checkers."""
    kernel = torch.rand(1, 1, 5, 5)
    kernel /= kernel.sum()
    flat = torch.ones(1, 1, 16, 16)
    for r in (2, 3, 4):
        torch.testing.assert_close(upscale(flat, kernel, r), torch.ones(1, 1, 16 * r, 16 * r))
        literal = upscale(flat, kernel, r, "literal")[0, 0, 4 * r : -4 * r, 4 * r : -4 * r]
        assert literal.mean().item() == pytest.approx(1 / r, rel=1e-4)
        assert literal.std().item() > 0.05 * literal.mean().item()


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 24), st.integers(3, 24), st.floats(0.2, 5))
def test_any_upscaling_factor_gives_the_rounded_size(height: int, width: int, r: float) -> None:
    smoothing = MetaSmoothing()
    out = smoothing(torch.rand(1, 3, height, width), r)
    assert tuple(out.shape[2:]) == (max(1, round(r * height)), max(1, round(r * width)))


def test_smoothing_is_initialized_as_the_identity() -> None:
    image = torch.rand(2, 3, 9, 11)
    torch.testing.assert_close(MetaSmoothing(maps=5)(image), image)


def test_equation_3_is_upscaling_then_smoothing() -> None:
    smoothing = MetaSmoothing(maps=4)
    with torch.no_grad():
        for parameter in smoothing.parameters():
            parameter.normal_()
    image = torch.rand(1, 3, 8, 8)
    nearest = image.repeat_interleave(2, 2).repeat_interleave(2, 3)
    up = F.conv2d(F.pad(nearest, (2, 2, 2, 2), mode="replicate"), smoothing.upscaling)
    maps = F.conv2d(F.pad(up, (2, 2, 2, 2), mode="replicate"), smoothing.smoothing)
    expected = torch.einsum("oi,nihw->nohw", smoothing.to_rgb[:, :, 0, 0], maps)
    torch.testing.assert_close(smoothing(image, 2), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("r", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_factors_are_refused(r: float) -> None:
    with pytest.raises(ValueError, match="upscaling factor"):
        upscale(torch.rand(1, 3, 8, 8), torch.rand(3, 3, 5, 5), r)


def test_the_literal_mode_needs_an_integer_factor() -> None:
    with pytest.raises(ValueError, match="box"):
        upscale(torch.rand(1, 3, 8, 8), torch.rand(3, 3, 5, 5), 1.5, "literal")
