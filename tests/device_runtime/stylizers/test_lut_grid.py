"""The grid that a device fits to a LUT, against the fit in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch

from device_runtime.stylizers.lut_grid import apply_lut, lut_grid
from training import grid
from training.global_mapping import GlobalMapping
from training.look.lut import apply_lut as torch_lut
from training.look.lut import identity_lut

CELL, BINS, RIDGE = 32, 6, 1e-3


def lut(seed: int) -> np.ndarray:
    """Return a smooth LUT, float32 (17, 17, 17, 3)."""
    rng = np.random.default_rng(seed)
    plain = identity_lut(17).permute(1, 2, 3, 0).numpy()
    bent = plain ** rng.uniform(0.6, 1.6, 3) @ (np.eye(3) + rng.normal(0, 0.1, (3, 3)))
    return bent.clip(0, 1).astype(np.float32)


def mapping(table: np.ndarray) -> GlobalMapping:
    return GlobalMapping(torch.from_numpy(table).permute(3, 0, 1, 2)[None], torch.ones(1, 1))


@pytest.mark.parametrize("seed", range(3))
def test_the_fit_is_that_of_training(seed: int) -> None:
    frame, table = skimage.data.coffee()[:256, :384], lut(seed)
    content = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255
    reference = mapping(table)
    expected = grid.fit_grid(content, reference(content), reference, reference.gain, CELL, BINS, RIDGE)
    found = lut_grid(frame, table, cell=CELL, bins=BINS, ridge=RIDGE)
    assert found.shape == (8, 12, BINS, 3, 4)
    expected_layout = expected[0].permute(2, 3, 0, 1).reshape(found.shape).numpy()
    np.testing.assert_allclose(found, expected_layout, atol=5e-3)


def test_colors_are_mapped_as_in_training() -> None:
    table, colors = lut(7), np.random.default_rng(1).random((40, 50, 3), np.float32)
    expected = torch_lut(mapping(table).lut, torch.from_numpy(colors).permute(2, 0, 1)[None])
    np.testing.assert_allclose(apply_lut(table, colors), expected[0].permute(1, 2, 0).numpy(), atol=1e-6)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flat_frame_has_a_finite_grid(level: int) -> None:
    frame = np.full((64, 64, 3), level, np.uint8)
    found = lut_grid(frame, lut(2), cell=CELL, bins=BINS, ridge=RIDGE)
    assert np.isfinite(found).all()
    assert np.abs(found).max() < 10
