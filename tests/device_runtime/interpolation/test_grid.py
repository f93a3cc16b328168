from __future__ import annotations

import numpy as np
import pytest

from device_runtime.interpolation.grid import (
    GridError,
    check_grid,
    check_map_output,
    grid_of,
    moved,
    on_grid,
    sliced,
    weakened,
)
from device_runtime.motion.flow import Motion
from mvstylizer.stylizer import StylizedFrame

MAP = np.random.default_rng(3).normal(size=(9, 16, 5, 3, 4)).astype(np.float32)


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


@pytest.mark.parametrize("shape", [(9, 16, 5), (18, 32, 5), (9, 16, 9), (3, 4, 2), (20, 7, 1)])
def test_a_map_linear_in_place_and_luma_survives_another_grid(shape: tuple[int, int, int]) -> None:
    def ramp(rows: int, columns: int, bins: int) -> np.ndarray:
        down, across = (np.arange(n, dtype=np.float32) / n + 0.5 / n for n in (rows, columns))
        luma = np.linspace(0, 1, bins) if bins > 1 else np.array([0.5])
        value = down[:, None, None] + 2 * across[:, None] + 3 * luma
        return np.broadcast_to(value[..., None, None], (rows, columns, bins, 3, 4)).astype(np.float32)

    found = on_grid(ramp(9, 16, 5), *shape)
    assert (found.dtype, found.shape[:3]) == (np.float32, shape)
    inside = (slice(1, -1), slice(1, -1)) if shape[0] > 9 else (slice(None), slice(None))
    wanted = ramp(*shape)
    np.testing.assert_allclose(found[inside], wanted[inside], atol=0.06)


def test_the_same_grid_is_returned_as_it_is() -> None:
    assert on_grid(MAP, *MAP.shape[:3]) is MAP
    constant = np.full((4, 4, 1, 3, 4), 0.3, np.float32)
    np.testing.assert_allclose(on_grid(constant, 4, 4, 6), 0.3, atol=1e-6)


def test_reading_is_trilinear() -> None:
    unit = np.random.default_rng(0).random((21, 33, 3)).astype(np.float32)
    found = sliced(MAP, unit)
    for y, x in ((0, 0), (7, 20), (20, 32), (11, 5)):
        row, column = ((i + 0.5) * n / size - 0.5 for i, n, size in ((y, 9, 21), (x, 16, 33)))
        luma = float(unit[y, x] @ [0.2126, 0.7152, 0.0722]) * 4
        expected = np.zeros((3, 4))
        for place, size in ((row, 9), (column, 16)):
            assert -0.5 <= place <= size - 0.5
        for r in range(9):
            for c in range(16):
                for k in range(5):
                    weight = (
                        max(0, 1 - abs(min(max(row, 0), 8) - r))
                        * max(0, 1 - abs(min(max(column, 0), 15) - c))
                        * max(0, 1 - abs(luma - k))
                    )
                    expected += weight * MAP[r, c, k]
        np.testing.assert_allclose(found[y, x], expected, atol=1e-4)
    np.testing.assert_allclose(sliced(MAP, unit[8:15], top=8, height=21), found[8:15], atol=1e-5)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (np.zeros((36, 64, 3, 4), np.float32), "affine map"),
        (np.zeros((9, 16, 8, 12), np.float32), r"float32 \(9, 16, 8, 12\)"),
        (np.zeros((9, 16, 8, 3, 4)), "float64"),
        (np.zeros((0, 16, 8, 3, 4), np.float32), "0 cells"),
        (np.zeros((256, 257, 1, 3, 4), np.float32), "65792 cells"),
        (np.full((2, 2, 2, 3, 4), np.nan, np.float32), "not finite"),
        (np.full((2, 2, 2, 3, 4), -33, np.float32), "values up to 33"),
    ],
)
def test_a_map_that_is_none_is_refused_by_name(grid: np.ndarray, message: str) -> None:
    with pytest.raises(GridError, match=message) as caught:
        check_grid(grid)
    assert "\n" not in str(caught.value)


def test_an_old_model_and_a_missing_map_are_refused_by_name() -> None:
    with pytest.raises(GridError, match=r"stylizer.onnx gives an affine map of an older release"):
        check_map_output(["stylized", "affine_map"], "stylizer.onnx")
    check_map_output(["stylized", "grid"], "stylizer.onnx")
    with pytest.raises(GridError, match="no map"):
        grid_of(StylizedFrame(None, None))
    assert grid_of(StylizedFrame(None, MAP)) is MAP
