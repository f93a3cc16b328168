"""Maps are blended at the borders of their regions and unaffected elsewhere."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from skimage import data

from device_runtime.labels import blend
from device_runtime.labels.blend import EDGE, REACH, blended_maps, feathered
from mvstylizer.stylizer import BilateralGrid

PHOTO = np.ascontiguousarray(cv2.resize(data.coffee(), (300, 210)))
HEIGHT, WIDTH = PHOTO.shape[:2]
PIXELS = max(1, round(REACH * math.hypot(HEIGHT, WIDTH)))
WARM = np.array([[0.9, 0.1, 0, 0.05], [0.1, 0.7, 0, 0.02], [0, 0.1, 0.5, 0]], np.float32)
COLD = np.array([[0.5, 0, 0.1, 0], [0, 0.7, 0.1, 0.02], [0, 0.1, 0.9, 0.08]], np.float32)
IDENTITY = np.eye(3, 4, dtype=np.float32)


def everywhere(color: NDArray[np.float32], rows: int = 9, columns: int = 12, bins: int = 3) -> BilateralGrid:
    return np.broadcast_to(color, (rows, columns, bins, 3, 4)).astype(np.float32)


def colored(photo: NDArray[np.uint8], color: NDArray[np.float32]) -> NDArray[np.float64]:
    """Apply one [A | b] to a photo by the formula; in gray levels, not rounded."""
    unit = np.concatenate([photo / 255, np.ones((*photo.shape[:2], 1))], -1)
    return np.asarray(np.clip(unit @ color.T.astype(float), 0, 1) * 255)


def slanted(count: int = 2) -> NDArray[np.uint8]:
    """Return `count` regions (H, W) with slanting borders."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.asarray(
        np.clip((rows + 0.4 * columns) * count / (HEIGHT + 0.4 * WIDTH), 0, count - 1), np.uint8
    )


def guided(mask: NDArray[np.float64], luma: NDArray[np.float64], radius: int) -> NDArray[np.float64]:
    """He et al. 2010, Algorithm 1, in float64 with SciPy's box filter."""

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(uniform_filter(values, 2 * radius + 1, mode="mirror"))

    gain = (mean(luma * mask) - mean(luma) * mean(mask)) / (mean(luma**2) - mean(luma) ** 2 + EDGE)
    return mean(gain) * luma + mean(mean(mask) - gain * mean(luma))


def far(regions: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where no border has an effect: no other region within twice the reach."""
    kernel = np.ones((4 * PIXELS + 1, 4 * PIXELS + 1), np.uint8)
    return np.asarray(cv2.erode(regions, kernel) == cv2.dilate(regions, kernel))


def test_weights_are_the_guided_filters() -> None:
    regions = slanted(3)
    luma = PHOTO.astype(float) @ [0.299, 0.587, 0.114] / 255
    luma = np.rint(255 * luma) / 255
    expected = np.stack([np.clip(guided((regions == k).astype(float), luma, 4), 0, 1) for k in range(3)])
    weights = feathered(PHOTO, regions, 3, 4)
    np.testing.assert_allclose(weights, expected / expected.sum(0), atol=0.02)


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    count=st.integers(1, 5),
    reach=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
)
def test_weights_sum_to_one(size: tuple[int, int], count: int, reach: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    photo = random.integers(0, 256, (*size, 3), np.uint8)
    regions = random.integers(0, count, size, np.uint8)
    weights = feathered(photo, regions, count, reach)
    assert (weights.dtype, weights.shape) == (np.float32, (count, *size))
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(0), 1, atol=1e-5)


def test_a_border_on_an_edge_of_the_photo_stays_sharp() -> None:
    columns = np.mgrid[:60, :80][1]
    photo = np.where(columns[..., None] < 40, np.uint8(30), np.uint8(220)).repeat(3, -1)
    flat = np.full_like(photo, 128)
    regions = (columns >= 40).astype(np.uint8)
    sharp, soft = (feathered(each, regions, 2, 4)[1, 30, 38:42] for each in (photo, flat))
    np.testing.assert_allclose(sharp, [0, 0, 1, 1], atol=0.02)
    assert 0.3 < soft[1] < 0.5 < soft[2] < 0.7
    # A mask that is off by two pixels is drawn to where the photo has its edge.
    drawn = feathered(photo, (columns >= 42).astype(np.uint8), 2, 4)[1, 30]
    assert drawn[40] > drawn[39] + 0.3


def test_one_map_everywhere_is_that_map_applied() -> None:
    for regions, maps in (
        (np.zeros((HEIGHT, WIDTH), np.uint8), [everywhere(WARM)]),
        (slanted(3), [everywhere(WARM), everywhere(WARM, 5, 7), everywhere(WARM, 1, 1, 1)]),
    ):
        result = blended_maps(PHOTO, regions, maps)
        assert (result.dtype, result.shape) == (np.uint8, PHOTO.shape)
        assert abs(result - colored(PHOTO, WARM)).max() <= 0.51


def test_identity_maps_return_the_photo() -> None:
    np.testing.assert_array_equal(blended_maps(PHOTO, slanted(4), [everywhere(IDENTITY)] * 4), PHOTO)


def test_away_from_borders_each_region_has_its_own_map() -> None:
    regions = slanted()
    result = blended_maps(PHOTO, regions, [everywhere(WARM), everywhere(COLD, 6, 8)])
    for number, color in enumerate((WARM, COLD)):
        inside = far(regions) & (regions == number)
        assert inside.mean() > 0.3
        assert abs(result - colored(PHOTO, color))[inside].max() <= 0.51


def test_between_two_maps_a_pixel_is_between_their_results() -> None:
    both = np.stack([colored(PHOTO, WARM), colored(PHOTO, COLD)])
    result = blended_maps(PHOTO, slanted(), [everywhere(WARM), everywhere(COLD)])
    assert (result >= both.min(0) - 0.51).all()
    assert (result <= both.max(0) + 0.51).all()


def test_a_grid_is_read_trilinearly() -> None:
    grid = np.random.default_rng(0).normal(0, 0.05, (7, 9, 2, 3, 4)).astype(np.float32) + IDENTITY
    luma = (PHOTO @ np.array([0.2126, 0.7152, 0.0722]) / 255)[..., None, None]
    dark, bright = (
        cv2.resize(np.ascontiguousarray(grid[:, :, k]).reshape(7, 9, 12), (WIDTH, HEIGHT)) for k in range(2)
    )
    full = (1 - luma) * dark.reshape(HEIGHT, WIDTH, 3, 4) + luma * bright.reshape(HEIGHT, WIDTH, 3, 4)
    unit = np.concatenate([PHOTO / 255, np.ones((HEIGHT, WIDTH, 1))], -1)
    expected = np.clip(np.einsum("hwij,hwj->hwi", full, unit), 0, 1) * 255
    result = blended_maps(PHOTO, np.zeros((HEIGHT, WIDTH), np.uint8), [grid])
    assert abs(result - expected).max() <= 0.51


@pytest.mark.parametrize("rows", [1, 7, 50])
def test_strips_are_as_one_piece(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    maps = [everywhere(WARM), everywhere(COLD, 6, 8), everywhere(IDENTITY)]
    monkeypatch.setattr(blend, "STRIP", HEIGHT)
    whole = blended_maps(PHOTO, slanted(3), maps).astype(int)
    monkeypatch.setattr(blend, "STRIP", rows)
    strips = blended_maps(PHOTO, slanted(3), maps)
    # Sums in another order may round another way.
    assert abs(strips - whole).max() <= 1
    assert (strips == whole).mean() > 0.999
