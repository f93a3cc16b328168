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


def noise_map(rows: int, columns: int, spread: float, seed: int = 0) -> Map:
    noise = np.random.default_rng(seed).normal(0, spread, (rows, columns, 3, 4))
    return (IDENTITY + noise).astype(np.float32)


def applied(frame: Image, affine_map: Map) -> Image:
    """Enlarge the map with OpenCV to twelve full-size channels, then multiply at each pixel."""
    height, width = frame.shape[:2]
    rows, columns = affine_map.shape[:2]
    flat = np.ascontiguousarray(affine_map).reshape(rows, columns, 12)
    full = cv2.resize(flat, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, 3, 4)
    styled = np.einsum("hwck,hwk->hwc", full[..., :3], frame.astype(np.float64)) + 255 * full[..., 3]
    return np.clip(np.rint(styled), 0, 255).astype(np.uint8)


def difference(a: Image, b: Image) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


@pytest.mark.parametrize("size", [(64, 48), (272, 640), (273, 641), (3, 13_000), (720, 1280)])
@pytest.mark.parametrize("grid", [(1, 1), (9, 16), (36, 64)])
def test_equals_the_enlarged_map_times_the_pixel(
    transfer: Transfer, size: tuple[int, int], grid: tuple[int, int]
) -> None:
    frame, affine_map = photo(*size), noise_map(*grid, 0.1)
    assert difference(transfer(frame, affine_map), applied(frame, affine_map)) <= 1


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 150), st.integers(1, 300)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from([0.1, 20]),
)
def test_any_size_and_grid(
    transfer: Transfer, size: tuple[int, int], grid: tuple[int, int], spread: float
) -> None:
    frame, affine_map = photo(*size), noise_map(*grid, spread)
    assert difference(transfer(frame, affine_map), applied(frame, affine_map)) <= 1


def test_identity_returns_the_frame(transfer: Transfer) -> None:
    frame = photo(273, 641)
    np.testing.assert_array_equal(transfer(frame, np.tile(IDENTITY, (9, 16, 1, 1))), frame)


def test_each_coefficient_has_its_place(transfer: Transfer) -> None:
    frame = photo(50, 70)
    matrix = np.array([[0, 1, 0, 0.1], [0, 0, 1, 0], [0.5, 0, 0, 0]], np.float32)
    styled = transfer(frame, np.tile(matrix, (4, 5, 1, 1))).astype(np.float64)
    red, green, blue = frame.transpose(2, 0, 1).astype(np.float64)
    expected = np.stack([np.minimum(green + 25.5, 255), blue, red / 2], axis=-1)
    assert np.abs(styled - expected).max() <= 0.51


def test_results_saturate(transfer: Transfer) -> None:
    frame = photo(50, 70)
    steps = np.zeros((1, 2, 3, 4), np.float32)
    steps[0, :, :, 3] = [[-9.0], [9.0]]
    styled = transfer(frame, steps)
    assert np.all(styled[:, :17] == 0)
    assert np.all(styled[:, -17:] == 255)


def test_sizes_may_change_between_calls(transfer: Transfer) -> None:
    for size, grid in (((90, 160), (9, 16)), ((300, 41), (9, 16)), ((300, 41), (3, 5)), ((90, 160), (9, 16))):
        frame, affine_map = photo(*size), noise_map(*grid, 0.2)
        assert difference(transfer(frame, affine_map), applied(frame, affine_map)) <= 1


def test_threads_agree(kernels: Path) -> None:
    frame, affine_map = photo(270, 480), noise_map(9, 16, 0.3)
    results = []
    for threads in (1, 3):
        with Transfer(kernels / "transfer.tflite", threads=threads) as transfer:
            results.append(transfer(frame, affine_map))
    np.testing.assert_array_equal(*results)


def test_non_contiguous_views_are_accepted(transfer: Transfer) -> None:
    frame, affine_map = photo(100, 200)[:, ::-1][::2, 20:151], noise_map(9, 16, 0.1)[:, ::2]
    assert difference(transfer(frame, affine_map), applied(frame.copy(), affine_map)) <= 1


def test_wrong_inputs_are_named_and_the_next_frame_works(transfer: Transfer) -> None:
    frame, affine_map = photo(50, 70), noise_map(4, 5, 0.1)
    with pytest.raises(KernelError, match=r"Frame is float32 \(50, 70, 3\)"):
        transfer(frame.astype(np.float32), affine_map)  # type: ignore[arg-type]
    with pytest.raises(KernelError, match=r"Map is float32 \(4, 5, 12\), not float32 \(gh, gw, 3, 4\)"):
        transfer(frame, affine_map.reshape(4, 5, 12))
    with pytest.raises(KernelError, match=r"Map is float64"):
        transfer(frame, affine_map.astype(np.float64))  # type: ignore[arg-type]
    broken = affine_map.copy()
    broken[3, 4, 2, :2] = np.nan
    with pytest.raises(KernelError, match="Map has 2 values of 240 that are not finite"):
        transfer(frame, broken)
    assert difference(transfer(frame, affine_map), applied(frame, affine_map)) <= 1
