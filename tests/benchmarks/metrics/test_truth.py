from __future__ import annotations

import numpy as np
import pytest
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

from benchmarks.metrics.truth import truth


def test_against_scikit_image_and_numpy() -> None:
    coffee = np.asarray(data.coffee()[::3, ::3])
    rng = np.random.default_rng(0)
    noisy = np.asarray(np.clip(coffee + rng.normal(0, 12, coffee.shape), 0, 255), np.uint8)
    found = truth(noisy, coffee)
    assert found.psnr == pytest.approx(peak_signal_noise_ratio(coffee, noisy), abs=1e-6)
    limits = [(0, 256)] * 3
    histograms = [np.histogramdd(x.reshape(-1, 3), 16, limits)[0].ravel() for x in (noisy, coffee)]
    assert found.histogram_correlation == pytest.approx(np.corrcoef(*histograms)[0, 1], abs=1e-4)
    assert 0 < found.ssim < 1
    assert 2 < found.delta_e < 12


def test_the_answer_itself() -> None:
    coffee = np.asarray(data.coffee()[::4, ::4])
    found = truth(coffee, coffee)
    assert (found.psnr, found.ssim) == (100, pytest.approx(1))
    assert found.delta_e == pytest.approx(0, abs=1e-9)
    assert found.histogram_correlation == pytest.approx(1)
