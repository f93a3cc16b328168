from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from device_runtime.kernels import KernelError, Transfer

Map = NDArray[np.float32]
Image = NDArray[np.uint8]
IDENTITY = np.eye(3, 4, dtype=np.float32)


@pytest.fixture(scope="module")
def transfer(kernels: Path) -> Iterator[Transfer]:
    with Transfer(kernels / "transfer.tflite", threads=2) as made:
        yield made


def photo(height: int, width: int) -> Image:
    return cv2.resize(skimage.data.coffee(), (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[no-any-return]


def noise_map(rows: int, columns: int, bins: int, spread: float, seed: int = 0) -> Map:
    noise = np.random.default_rng(seed).normal(0, spread, (rows, columns, bins, 3, 4))
    return (IDENTITY + noise).astype(np.float32)


def applied(frame: Image, grid: Map) -> Image:
    """Enlarge each bin with OpenCV to twelve full-size channels and multiply the one read by luma."""
    height, width = frame.shape[:2]
    bins = grid.shape[2]
    place = frame.astype(np.float64) @ [0.2126, 0.7152, 0.0722] / 255 * (bins - 1)
    full = np.zeros((height, width, 12))
    for k in range(bins):
        flat = np.ascontiguousarray(grid[:, :, k]).reshape(*grid.shape[:2], 12)
        weight = np.interp(place, np.arange(bins), np.eye(bins)[k])
        full += weight[..., None] * cv2.resize(flat, (width, height), interpolation=cv2.INTER_LINEAR)
    full = full.reshape(height, width, 3, 4)
    styled = np.einsum("hwck,hwk->hwc", full[..., :3], frame.astype(np.float64)) + 255 * full[..., 3]
    return np.clip(np.rint(styled), 0, 255).astype(np.uint8)


def difference(a: Image, b: Image) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


@pytest.mark.parametrize("size", [(64, 48), (272, 640), (273, 641), (3, 13_000), (720, 1280)])
@pytest.mark.parametrize("shape", [(1, 1, 1), (9, 16, 1), (9, 16, 8), (16, 9, 4), (36, 64, 2)])
def test_equals_the_enlarged_map_times_the_pixel(
    transfer: Transfer, size: tuple[int, int], shape: tuple[int, int, int]
) -> None:
    frame, grid = photo(*size), noise_map(*shape, 0.1)
    assert difference(transfer(frame, grid), applied(frame, grid)) <= 1


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 150), st.integers(1, 300)),
    st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 9)),
    st.sampled_from([0.1, 20]),
)
def test_any_size_and_grid(
    transfer: Transfer, size: tuple[int, int], shape: tuple[int, int, int], spread: float
) -> None:
    frame, grid = photo(*size), noise_map(*shape, spread)
    assert difference(transfer(frame, grid), applied(frame, grid)) <= 1


def test_identity_returns_the_frame(transfer: Transfer) -> None:
    frame = photo(273, 641)
    np.testing.assert_array_equal(transfer(frame, np.tile(IDENTITY, (9, 16, 6, 1, 1))), frame)


def test_each_coefficient_has_its_place(transfer: Transfer) -> None:
    frame = photo(50, 70)
    matrix = np.array([[0, 1, 0, 0.1], [0, 0, 1, 0], [0.5, 0, 0, 0]], np.float32)
    styled = transfer(frame, np.tile(matrix, (4, 5, 3, 1, 1))).astype(np.float64)
    red, green, blue = frame.transpose(2, 0, 1).astype(np.float64)
    expected = np.stack([np.minimum(green + 25.5, 255), blue, red / 2], axis=-1)
    assert np.abs(styled - expected).max() <= 0.51


def test_a_tone_curve_is_held_by_the_bins(transfer: Transfer) -> None:
    """Gains of 1, 3 and -1 between luma 0, 0.5 and 1, on a gray ramp: the curve is piecewise quadratic."""
    gray = np.arange(256, dtype=np.uint8)
    frame = np.ascontiguousarray(np.broadcast_to(gray[None, :, None], (20, 256, 3)))
    gains = np.array([1.0, 3.0, -1.0])
    grid = (gains[:, None, None] * IDENTITY).astype(np.float32)[None, None]
    curve = np.interp(gray / 255, [0, 0.5, 1], gains) * gray
    styled = transfer(frame, np.broadcast_to(grid, (9, 16, 3, 3, 4)).copy())
    assert np.abs(styled - np.clip(curve, 0, 255)[None, :, None]).max() <= 0.51


def test_results_saturate(transfer: Transfer) -> None:
    frame = photo(50, 70)
    steps = np.zeros((1, 2, 2, 3, 4), np.float32)
    steps[0, 0, ..., 3], steps[0, 1, ..., 3] = -9.0, 9.0
    styled = transfer(frame, steps)
    assert np.all(styled[:, :17] == 0)
    assert np.all(styled[:, -17:] == 255)


def test_sizes_may_change_between_calls(transfer: Transfer) -> None:
    for size, shape in (
        ((90, 160), (9, 16, 4)),
        ((300, 41), (9, 16, 4)),
        ((300, 41), (3, 5, 4)),
        ((300, 41), (3, 5, 7)),
        ((90, 160), (9, 16, 4)),
    ):
        frame, grid = photo(*size), noise_map(*shape, 0.2)
        assert difference(transfer(frame, grid), applied(frame, grid)) <= 1


def test_threads_agree(kernels: Path) -> None:
    frame, grid = photo(270, 480), noise_map(9, 16, 8, 0.3)
    results = []
    for threads in (1, 3):
        with Transfer(kernels / "transfer.tflite", threads=threads) as transfer:
            results.append(transfer(frame, grid))
    np.testing.assert_array_equal(*results)


def test_non_contiguous_views_are_accepted(transfer: Transfer) -> None:
    frame, grid = photo(100, 200)[:, ::-1][::2, 20:151], noise_map(9, 16, 8, 0.1)[:, ::2, ::2]
    assert difference(transfer(frame, grid), applied(frame.copy(), grid)) <= 1


def test_wrong_inputs_are_named_and_the_next_frame_works(transfer: Transfer) -> None:
    frame, grid = photo(50, 70), noise_map(4, 5, 2, 0.1)
    with pytest.raises(KernelError, match=r"Frame is float32 \(50, 70, 3\)"):
        transfer(frame.astype(np.float32), grid)  # type: ignore[arg-type]
    with pytest.raises(
        KernelError, match=r"Map is float32 \(4, 5, 24\), not float32 \(rows, columns, bins, 3, 4\)"
    ):
        transfer(frame, grid.reshape(4, 5, 24))
    with pytest.raises(KernelError, match=r"Map is float64"):
        transfer(frame, grid.astype(np.float64))  # type: ignore[arg-type]
    broken = grid.copy()
    broken[3, 4, 1, 2, :2] = np.nan
    with pytest.raises(KernelError, match="Map has 2 values of 480 that are not finite"):
        transfer(frame, broken)
    assert difference(transfer(frame, grid), applied(frame, grid)) <= 1
