import numpy as np
import pytest
import torch

from training.look.lut import apply_lut, compose, identity_lut, resample


def trilinear(lut, pixel):
    """Interpolate a 3×S×S×S LUT, indexed (b, g, r), at one RGB color."""
    side = lut.shape[-1]
    at = np.clip(pixel, 0, 1) * (side - 1)
    low = np.minimum(at.astype(int), side - 2)
    part = at - low
    total = np.zeros(3)
    for corner in np.ndindex(2, 2, 2):
        r, g, b = low + np.array(corner)
        total += np.prod(np.where(corner, part, 1 - part)) * lut[:, b, g, r]
    return total


@pytest.fixture
def lut():
    generator = torch.Generator().manual_seed(0)
    return identity_lut(5) + 0.2 * torch.randn(2, 3, 5, 5, 5, generator=generator)


def test_a_lut_is_applied_as_numpy_interpolates_it(lut):
    image = torch.rand(2, 3, 4, 6, generator=torch.Generator().manual_seed(1)) * 1.2 - 0.1
    result = apply_lut(lut, image)
    for n in range(2):
        for y, x in np.ndindex(4, 6):
            expected = trilinear(lut[n].numpy(), image[n, :, y, x].numpy())
            np.testing.assert_allclose(result[n, :, y, x], expected, atol=1e-5)


def test_the_identity_changes_nothing():
    image = torch.rand(1, 3, 7, 5)
    torch.testing.assert_close(apply_lut(identity_lut(9).unsqueeze(0), image), image)


def test_a_finer_lut_maps_colors_the_same(lut):
    image = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(apply_lut(resample(lut, 9), image), apply_lut(lut, image), atol=1e-5, rtol=0)


def test_a_composition_applies_one_lut_after_the_other(lut):
    first, second = lut.clamp(0, 1), lut.flip(0).clamp(0, 1)
    nodes = identity_lut(5).reshape(1, 3, 5, 25).expand(2, -1, -1, -1)
    expected = apply_lut(second, apply_lut(first, nodes))
    torch.testing.assert_close(apply_lut(compose(first, second), nodes), expected, atol=1e-5, rtol=0)
