from __future__ import annotations

import numpy as np
import pytest
import skimage.metrics
import torch
from scipy import ndimage

from training.loss import (
    content_distance,
    contrast_loss,
    gram_distance,
    grid_roughness,
    perceptual,
    structure_loss,
    tint_loss,
)
from training.vgg import VggEncoder, gram


def test_gram_matches_its_definition() -> None:
    feature = torch.rand(1, 3, 4, 5)
    expected = np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            expected[i, j] = (feature[0, i] * feature[0, j]).sum() / 20
    np.testing.assert_allclose(gram(feature)[0], expected, rtol=1e-5)


def test_gram_ignores_positions_and_content_distance_does_not(cat: torch.Tensor) -> None:
    flipped = cat.flip(3)
    assert gram_distance(flipped, cat).item() < 1e-4
    assert content_distance(flipped, cat).item() > 0.3


def test_content_distance_is_relative() -> None:
    feature = torch.randn(1, 4, 16, 16)
    assert content_distance(1.25 * feature, feature).item() == pytest.approx(0.25, rel=1e-4)
    assert content_distance(5 * 1.25 * feature, 5 * feature).item() == pytest.approx(0.25, rel=1e-4)


def test_eq5_is_zero_for_the_image_itself(cat: torch.Tensor) -> None:
    parts = perceptual(VggEncoder(), cat, cat, cat)
    assert parts.content.item() < 1e-3
    assert parts.style.item() < 1e-3


def test_the_parts_of_eq5_compete(cat: torch.Tensor, coffee: torch.Tensor) -> None:
    encoder, style = VggEncoder(), coffee[:, :, : cat.shape[2], : cat.shape[3]]
    as_content, as_style = perceptual(encoder, cat, coffee, cat), perceptual(encoder, style, coffee, style)
    assert as_content.content < as_style.content + 1e-6
    assert as_style.style < as_content.style


def test_structure_matches_scikit_image(cat: torch.Tensor, coffee: torch.Tensor) -> None:
    def edges(image: torch.Tensor) -> np.ndarray:
        luma = 255 * np.tensordot([0.299, 0.587, 0.114], image[0].double().numpy(), 1)
        gx, gy = ndimage.sobel(luma, 1, mode="mirror"), ndimage.sobel(luma, 0, mode="mirror")
        magnitude = np.sqrt(gx**2 + gy**2 + 1e-3)
        return 40 * magnitude / magnitude.mean()

    a, b = cat[:, :, :96, :120], coffee[:, :, :96, :120]
    _, full = skimage.metrics.structural_similarity(
        edges(a),
        edges(b),
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        truncate=3.4,
        full=True,
    )
    expected = 1 - full[5:-5, 5:-5].mean()
    assert abs(structure_loss(a, b).item() - expected) < 1e-3


def test_structure_ignores_contrast(cat: torch.Tensor) -> None:
    assert structure_loss(0.5 * cat + 0.2, cat).item() < 1e-3


def test_roughness_of_a_ramp() -> None:
    ramp = torch.arange(5.0).view(1, 1, 1, 1, 5).expand(1, 6, 12, 4, 5)
    assert grid_roughness(ramp).item() == 1.0


def test_haze_is_lost_contrast_and_more_contrast_is_none(cat: torch.Tensor) -> None:
    hazy = 0.6 * cat + 0.3
    assert contrast_loss(hazy, cat).item() > 0.3
    assert contrast_loss(cat, cat).item() == 0
    assert contrast_loss(cat, hazy).item() == 0


def test_a_tint_weighs_more_on_gray() -> None:
    tint = torch.tensor([0.05, 0.0, -0.05]).view(1, 3, 1, 1)
    gray, red = (
        torch.tensor(rgb).view(1, 3, 1, 1).expand(1, 3, 8, 8) for rgb in ([0.5] * 3, [0.8, 0.2, 0.2])
    )
    assert tint_loss(gray + tint, gray) > 3 * tint_loss(red + tint, red)
    assert tint_loss(gray + 0.1, gray).item() < 1e-6  # brighter, not tinted
