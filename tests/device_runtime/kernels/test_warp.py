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

from device_runtime.kernels import KernelError, Warp

Flow = NDArray[np.float32]
Image = NDArray[np.uint8]


@pytest.fixture(scope="module")
def warp(kernels: Path) -> Iterator[Warp]:
    with Warp(kernels / "warp.tflite", threads=2) as made:
        yield made


def photo(height: int, width: int) -> Image:
    return cv2.resize(skimage.data.coffee(), (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[no-any-return]


def wavy_flow(height: int, width: int, reach: float) -> Flow:
    """Smooth flow in steps of 1/32 pixel, which is as fine as OpenCV's table of weights is."""
    rows, columns = np.indices((height, width))
    flow = np.stack([np.sin(rows / 31 + columns / 57), np.cos(columns / 41 - rows / 23)], axis=-1)
    return (np.rint(32 * reach * flow) / 32).astype(np.float32)


def remapped(key: Image, flow: Flow) -> Image:
    rows, columns = np.indices(key.shape[:2])
    place = (flow + np.stack([columns, rows], axis=-1)).astype(np.float32)
    return cv2.remap(key, place, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[no-any-return]


def difference(a: NDArray[np.generic], b: NDArray[np.generic]) -> float:
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max())


@pytest.mark.parametrize("size", [(272, 640), (273, 641), (64, 48), (48, 64), (3, 13_000), (720, 1280)])
@pytest.mark.parametrize("reach", [0.7, 8.0, 300.0])
def test_photo_moves_as_opencv_moves_it(warp: Warp, size: tuple[int, int], reach: float) -> None:
    key, flow = photo(*size), wavy_flow(*size, reach)
    warp.set_key(key)
    assert difference(warp(flow), remapped(key, flow)) <= 1


def test_zero_flow_returns_the_key(warp: Warp) -> None:
    key = photo(273, 641)
    warp.set_key(key)
    np.testing.assert_array_equal(warp(np.zeros((273, 641, 2), np.float32)), key)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.floats(-200, 200), st.floats(-200, 200))
def test_plane_is_read_exactly_and_edges_are_clamped(
    warp: Warp, height: int, width: int, dx: float, dy: float
) -> None:
    # Bilinear reading of a plane is the plane itself, so the result is known in closed form at any fraction.
    rows, columns = np.indices((height, width))
    plane = np.stack([2 * columns + rows, 255 - 3 * columns - rows, 4 * rows], axis=-1)
    flow = (np.array([dx, dy]) + wavy_flow(height, width, 2)).astype(np.float32)
    x = np.clip(columns + flow[..., 0].astype(np.float64), 0, width - 1)
    y = np.clip(rows + flow[..., 1].astype(np.float64), 0, height - 1)
    warp.set_key(plane.astype(np.uint8))
    assert difference(warp(flow), np.stack([2 * x + y, 255 - 3 * x - y, 4 * y], axis=-1)) <= 0.51


def test_frame_size_may_change_with_the_key(warp: Warp) -> None:
    for size in ((90, 160), (41, 300), (90, 160)):
        key, flow = photo(*size), wavy_flow(*size, 5)
        warp.set_key(key)
        assert difference(warp(flow), remapped(key, flow)) <= 1


def test_threads_agree(kernels: Path) -> None:
    key, flow = photo(270, 480), wavy_flow(270, 480, 9)
    results = []
    for threads in (1, 3):
        with Warp(kernels / "warp.tflite", threads=threads) as warp:
            warp.set_key(key)
            results.append(warp(flow))
    np.testing.assert_array_equal(*results)


def test_non_contiguous_views_are_accepted(warp: Warp) -> None:
    key, flow = photo(100, 200), wavy_flow(100, 200, 4)
    warp.set_key(key[::2, 20:150])
    result = warp(flow[::2, 20:150])
    warp.set_key(key[::2, 20:150].copy())
    np.testing.assert_array_equal(result, warp(flow[::2, 20:150].copy()))


def test_key_is_copied(warp: Warp) -> None:
    key = photo(40, 60)
    before = key.copy()
    warp.set_key(key)
    key[:] = 0
    np.testing.assert_array_equal(warp(np.zeros((40, 60, 2), np.float32)), before)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_flow_that_is_not_finite_is_refused_and_the_next_frame_works(warp: Warp, value: float) -> None:
    key, flow = photo(60, 80), wavy_flow(60, 80, 3)
    warp.set_key(key)
    broken = flow.copy()
    broken[59, 79, 1] = value
    with pytest.raises(KernelError, match=r"Flow has 1 values of \d+ that are not finite"):
        warp(broken)
    assert difference(warp(flow), remapped(key, flow)) <= 1


def test_wrong_inputs_are_named(warp: Warp, kernels: Path) -> None:
    warp.set_key(photo(60, 80))
    with pytest.raises(KernelError, match=r"Flow is float64 \(60, 80, 2\), not float32"):
        warp(np.zeros((60, 80, 2)))  # type: ignore[arg-type]
    with pytest.raises(KernelError, match=r"Flow is float32 \(80, 60, 2\), not float32 \(60, 80, 2\)"):
        warp(np.zeros((80, 60, 2), np.float32))
    with pytest.raises(KernelError, match=r"Key frame is uint8 \(60, 80\)"):
        warp.set_key(np.zeros((60, 80), np.uint8))
    with pytest.raises(KernelError, match=r"Key frame is uint8 \(0, 80, 3\)"):
        warp.set_key(np.zeros((0, 80, 3), np.uint8))
    with Warp(kernels / "warp.tflite", threads=1) as fresh, pytest.raises(KernelError, match="Call set_key"):
        fresh(np.zeros((60, 80, 2), np.float32))


def test_unusable_files_are_named(kernels: Path, tmp_path: Path) -> None:
    with pytest.raises(KernelError, match=r"absent\.tflite is missing"):
        Warp(tmp_path / "absent.tflite")
    (tmp_path / "text.tflite").write_text("not a model")
    with pytest.raises(KernelError, match=r"text\.tflite is not a TFLite model"):
        Warp(tmp_path / "text.tflite")
    with Warp(kernels / "transfer.tflite") as other, pytest.raises(KernelError, match="has no tensor atlas"):
        other.set_key(photo(10, 10))
    with pytest.raises(KernelError, match="threads is 0"):
        Warp(kernels / "warp.tflite", threads=0)
