from __future__ import annotations

import numpy as np
import torch
from safetensors.numpy import load_file
from scipy import signal

from training.vgg import FEATURE_SCALE, MEAN_RGB, WEIGHTS, VggEncoder


def test_the_first_layers_match_scipy(cat: torch.Tensor) -> None:
    weights = load_file(WEIGHTS)
    image = cat[:, :, :20, :24]
    x = image[0].numpy() * 255 - np.array(MEAN_RGB, np.float32)[:, None, None]
    for name in ("conv1_1", "conv1_2"):
        kernel, bias = (
            weights[f"{name}.weight"].astype(np.float32),
            weights[f"{name}.bias"].astype(np.float32),
        )
        planes = [
            sum(signal.correlate(plane, k, mode="same") for plane, k in zip(x, filters, strict=True))
            for filters in kernel
        ]
        x = np.maximum(np.stack(planes) + bias[:, None, None], 0)
    got = VggEncoder(last="1_2")(image, ["1_2"])["1_2"][0].numpy() * FEATURE_SCALE["1_2"]
    np.testing.assert_allclose(got, x, atol=1e-2)


def test_sizes_halve_at_the_pools() -> None:
    features = VggEncoder()(torch.rand(1, 3, 64, 48), ["1_1", "2_1", "3_1", "4_1"])
    assert {k: tuple(v.shape[1:]) for k, v in features.items()} == {
        "1_1": (64, 64, 48),
        "2_1": (128, 32, 24),
        "3_1": (256, 16, 12),
        "4_1": (512, 8, 6),
    }


def test_features_have_about_unit_size(cat: torch.Tensor) -> None:
    for name, feature in VggEncoder()(cat, list(FEATURE_SCALE)).items():
        assert 0.3 < feature.square().mean().sqrt().item() < 3, name


def test_the_encoder_has_no_trainable_parameters() -> None:
    encoder = VggEncoder()
    assert not list(encoder.parameters())
    assert not encoder.state_dict()
