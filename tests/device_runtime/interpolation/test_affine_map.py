from __future__ import annotations

import numpy as np
import pytest

from device_runtime.interpolation.affine_map import moved, weakened
from device_runtime.motion.flow import Motion

MAP = np.random.default_rng(3).normal(size=(9, 16, 3, 4)).astype(np.float32)


def motion(dx: float, dy: float) -> Motion:
    """The same shift everywhere, in pixels of a 90×160 frame, ten for a cell of MAP."""
    flow = np.zeros((90, 160, 2), np.float32) + np.array([dx, dy], np.float32)
    return Motion(flow, np.ones((90, 160), np.float32))


def test_a_still_map_stays() -> None:
    np.testing.assert_allclose(moved(MAP, motion(0, 0)), MAP, atol=1e-6)


def test_whole_cells_move_as_indices_do() -> None:
    out = moved(MAP, motion(20, -30))
    np.testing.assert_allclose(out[3:, :-2], MAP[:-3, 2:], atol=1e-6)


def test_half_a_cell_is_the_mean_of_two() -> None:
    out = moved(MAP, motion(5, 0))
    np.testing.assert_allclose(out[:, :-1], (MAP[:, 1:] + MAP[:, :-1]) / 2, atol=1e-5)


def test_outside_the_grid_the_edge_is_repeated() -> None:
    out = moved(MAP, motion(1000, 0))
    np.testing.assert_allclose(out, np.broadcast_to(MAP[:, -1:], MAP.shape), atol=1e-6)


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_strength_blends_the_stylized_colors_with_the_original_ones(strength: float) -> None:
    rgb = np.array([0.2, 0.5, 0.9, 1.0], np.float32)
    styled = MAP @ rgb
    np.testing.assert_allclose(
        weakened(MAP, strength) @ rgb, (1 - strength) * rgb[:3] + strength * styled, atol=1e-5
    )
