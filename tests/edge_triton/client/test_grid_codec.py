"""Packed bilateral grids: size, precision, and malformed input."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from edge_triton.client.grid_codec import BUDGET_BYTES, GridCodecError, pack_grid, unpack_grid
from mvstylizer.stylizer import BilateralGrid

LUMA = np.array([0.2126, 0.7152, 0.0722])


def smooth_grid(
    seed: int = 0, noise: float = 0.002, shape: tuple[int, int, int] = (9, 16, 8)
) -> BilateralGrid:
    """A random tone curve per coefficient, smooth variation in space that depends on luma, and noise."""
    random = np.random.default_rng(seed)
    y, x, luma = np.meshgrid(*(np.linspace(0, 1, side) for side in shape), indexing="ij")
    grid = np.tile(np.eye(3, 4), (*shape, 1, 1))
    for row, column in np.ndindex(3, 4):
        for wave in range(4):
            a, b, c, d = random.uniform(0, 6, 4)
            sizes = random.normal(0, 0.15 / (wave + 1), 2)
            grid[..., row, column] += sizes[0] * np.cos(3 * wave * luma + a)
            grid[..., row, column] += (
                sizes[1] * np.cos(3 * wave * x + b) * np.cos(3 * wave * y + c + d * luma)
            )
    return (grid + random.normal(0, noise, grid.shape)).astype(np.float32)


def picture(grid: BilateralGrid, frame: NDArray[np.float64]) -> NDArray[np.float64]:
    """Apply a grid to a frame, float (H, W, 3) in [0, 1], as `BilateralGrid` defines it; in gray levels."""
    height, width = frame.shape[:2]
    rows, columns, bins = grid.shape[:3]
    y, x = np.mgrid[0:height, 0:width] + 0.5
    place = np.stack([y / height * rows - 0.5, x / width * columns - 0.5, frame @ LUMA * (bins - 1)])
    planes = grid.reshape(rows, columns, bins, 12).transpose(3, 0, 1, 2).astype(np.float64)
    read = [map_coordinates(plane, place, order=1, mode="nearest") for plane in planes]
    transform = np.stack(read, -1).reshape(height, width, 3, 4)
    return 255 * (np.einsum("hwij,hwj->hwi", transform[..., :3], frame) + transform[..., 3])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("noise", [0, 0.002, 0.005])
def test_picture_differs_by_half_a_level_within_the_budget(seed: int, noise: float) -> None:
    grid = smooth_grid(seed, noise)
    packed = pack_grid(grid)
    assert len(packed) <= BUDGET_BYTES < grid.nbytes / 5
    frame = np.random.default_rng(seed).random((90, 160, 3))
    difference = np.abs(picture(unpack_grid(packed), frame) - picture(grid, frame))
    assert np.quantile(difference, 0.999) <= 0.5
    assert difference.mean() < 0.15


def test_rough_grid_gets_coarser_steps_to_fit_the_budget() -> None:
    grid = smooth_grid(noise=0.02)
    fine, fit = pack_grid(grid, 10**6), pack_grid(grid)
    assert len(fine) > BUDGET_BYTES >= len(fit)
    errors = [np.abs(unpack_grid(packed) - grid).max() for packed in (fine, fit)]
    assert errors[0] <= 0.5 / 1000 + 1e-6 < errors[1] <= 0.5 / 125


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        np.float32,
        st.tuples(*[st.integers(1, 4)] * 3, st.just(3), st.just(4)),
        elements=st.floats(-32, 32, width=32),
    )
)
def test_any_grid_round_trips(grid: BilateralGrid) -> None:
    back = unpack_grid(pack_grid(grid))
    assert back.dtype == np.float32
    assert back.shape == grid.shape
    np.testing.assert_allclose(back, grid, atol=0.5 / 1000 + 1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 32.1, 1e30])
def test_values_outside_color_transforms_are_rejected(value: float) -> None:
    grid = smooth_grid(shape=(2, 2, 2))
    grid[1, 1, 1, 1, 1] = value
    with pytest.raises(GridCodecError, match="outside the range of color transforms"):
        pack_grid(grid)


@pytest.mark.parametrize("shape", [(2, 2, 3, 4), (0, 2, 2, 3, 4), (2, 256, 2, 3, 4), (2, 2, 2, 4, 3)])
def test_other_shapes_are_rejected(shape: tuple[int, ...]) -> None:
    with pytest.raises(GridCodecError, match="not a bilateral grid"):
        pack_grid(np.zeros(shape, np.float32))


def test_a_large_grid_is_rejected_before_it_is_inflated() -> None:
    bomb = b"MVG1" + struct.pack("<BBBH", 255, 255, 255, 1000)
    with pytest.raises(GridCodecError, match="not a packed grid"):
        unpack_grid(bomb + bytes(100))
    with pytest.raises(GridCodecError, match="not a packed grid"):
        unpack_grid(pack_grid(smooth_grid()), max_cells=9 * 16 * 8 - 1)


def test_a_packed_value_out_of_range_is_rejected() -> None:
    good = pack_grid(np.full((1, 1, 1, 3, 4), 30, np.float32))
    with pytest.raises(GridCodecError, match="outside the range of color transforms"):
        unpack_grid(good[:7] + struct.pack("<H", 500) + good[9:])


def test_an_affine_map_of_an_older_version_is_named() -> None:
    with pytest.raises(GridCodecError, match="MVA1"):
        unpack_grid(b"MVA1" + struct.pack("<HHH", 36, 64, 1024) + bytes(100))


@pytest.mark.parametrize(
    "broken",
    [
        lambda good: b"",
        lambda good: good[:4],
        lambda good: good[:8],
        lambda good: b"JPEG" + good[4:],
        lambda good: good[:-5],
        lambda good: good + b"x",
        lambda good: good[:40] + bytes(40) + good[80:],
        lambda good: good[:4] + struct.pack("<BBBH", 9, 17, 8, 1000) + good[9:],
        lambda good: good[:4] + struct.pack("<BBBH", 9, 15, 8, 1000) + good[9:],
        lambda good: good[:4] + struct.pack("<BBBH", 9, 0, 8, 1000) + good[9:],
        lambda good: good[:4] + struct.pack("<BBBH", 9, 16, 8, 0) + good[9:],
    ],
)
def test_malformed_bytes_are_rejected(broken: Callable[[bytes], bytes]) -> None:
    with pytest.raises(GridCodecError):
        unpack_grid(broken(pack_grid(smooth_grid())))
