"""Distances between sets whose distance is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.metrics.distribution import (
    Inception,
    InceptionWeightsError,
    VggFeatures,
    fid,
    inception_score,
    kid,
)


@pytest.fixture(scope="module")
def features() -> Tensor:
    return torch.randn(80, 16, generator=torch.Generator().manual_seed(0))


def test_fid_of_a_shifted_set_is_the_shift_squared(features: Tensor) -> None:
    found = fid(features + 0.5, features, resamples=20)
    assert found.value == pytest.approx(16 * 0.25, rel=1e-3)
    assert found.low < found.high
    assert fid(features, features, resamples=1).value == pytest.approx(0, abs=1e-3)


def test_fid_of_a_wider_set(features: Tensor) -> None:
    # Equal means, standard deviations s and 2s along every axis: the sum of (2s - s)² is the trace.
    centred = features - features.mean(0)
    trace = float(torch.cov(centred.T).trace())
    assert fid(2 * centred, centred, resamples=1).value == pytest.approx(trace, rel=1e-3)


def test_kid_separates_different_sets(features: Tensor) -> None:
    near, far = kid(features[:40], features[40:]), kid(features[:40] + 2, features[40:])
    assert near.low < 0.1
    assert far.value > 10 * abs(near.value)


def test_inception_score_is_the_number_of_confident_balanced_classes() -> None:
    certain = 50 * torch.eye(4).repeat(200, 1)
    assert inception_score(certain).value == pytest.approx(4, rel=0.05)
    assert inception_score(torch.zeros(40, 4)).value == pytest.approx(1, rel=1e-4)


def test_vgg_features_are_means_over_the_picture() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    found = VggFeatures()([picture, 255 - picture, picture])
    assert found.shape == (3, 512)
    torch.testing.assert_close(found[0], found[2])
    assert not torch.allclose(found[0], found[1])


class StandIn(torch.nn.Module):
    """The interface of the published TorchScript, of a network that only looks at the mean."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, img: Tensor, return_features: bool = False, no_output_bias: bool = False) -> Tensor:
        mean = img.float().mean(dim=(1, 2, 3))[:, None] / 255
        if return_features:
            return mean.repeat(1, self.size)
        return torch.cat([mean, 1 - mean], dim=1)


def test_inception_returns_features_and_logits(tmp_path: Path) -> None:
    torch.jit.script(StandIn(2048)).save(str(tmp_path / "inception.pt"))
    network = Inception(tmp_path / "inception.pt")
    pictures = [np.full((32, 32, 3), level, np.uint8) for level in (0, 51, 255)]
    torch.testing.assert_close(network(pictures)[:, 7], torch.tensor([0.0, 0.2, 1.0]))
    torch.testing.assert_close(network.logits(pictures).softmax(1)[:, 0], torch.tensor([0.0, 0.2, 1.0]))


@pytest.mark.parametrize("kind", ["missing", "garbage", "another network"])
def test_other_files_are_rejected_as_inception(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "inception.pt"
    if kind == "garbage":
        path.write_bytes(b"PK no TorchScript")
    if kind == "another network":
        torch.jit.script(StandIn(64)).save(str(path))
    with pytest.raises(InceptionWeightsError) as caught:
        Inception(path)
    assert "inception-2015-12-05.pt" in str(caught.value)
