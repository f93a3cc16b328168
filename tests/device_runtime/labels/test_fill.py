"""A filled picture keeps the label's pixels and has its statistics everywhere."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage import data

from device_runtime.labels.fill import filled

PHOTOS = {name: cv2.resize(getattr(data, name)(), (360, 270)) for name in ("astronaut", "coffee", "chelsea")}
HEIGHT, WIDTH = 270, 360


def statistics(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean (3,) and covariance (3, 3) of RGB pixels, in gray levels."""
    flat = pixels.reshape(-1, 3).astype(float)
    return flat.mean(0), np.cov(flat.T, bias=True)


def differences(picture: NDArray[np.uint8], inside: NDArray[np.bool_]) -> tuple[float, float]:
    """Return how far a filled picture's mean is off in gray levels, and its covariance relatively."""
    (mean, covariance), (own_mean, own) = statistics(filled(picture, inside)), statistics(picture[inside])
    return float(abs(mean - own_mean).max()), float(np.linalg.norm(covariance - own) / np.linalg.norm(own))


def polygon(*corners: tuple[float, float]) -> NDArray[np.bool_]:
    """Return a polygon (H, W); its corners (x, y) are shares of width and height."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillPoly(mask, [np.array([(x * WIDTH, y * HEIGHT) for x, y in corners], np.int32)], 1)
    return mask.astype(bool)


def disc(x: float, y: float, radius: float) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.asarray(np.hypot(columns - x * WIDTH, rows - y * HEIGHT) < radius * HEIGHT)


SHAPES = {
    "sky": polygon((0, 0), (1, 0), (1, 0.35), (0.6, 0.5), (0.3, 0.3), (0, 0.45)),
    "left": polygon((0, 0), (0.3, 0), (0.4, 0.5), (0.25, 1), (0, 1)),
    "disc": disc(0.5, 0.5, 0.3),
    "ring": disc(0.5, 0.5, 0.45) & ~disc(0.5, 0.5, 0.2),
    "all but a disc": ~disc(0.3, 0.6, 0.3),
    "two parts": disc(0.2, 0.3, 0.25) | disc(0.8, 0.7, 0.25),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("photo", PHOTOS)
def test_the_whole_has_the_labels_mean_and_covariance(photo: str, shape: str) -> None:
    mean, covariance = differences(PHOTOS[photo], SHAPES[shape])
    assert mean < 0.2
    assert covariance < 0.02


sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))


@settings(max_examples=150, deadline=None)
@given(size=sizes, seed=st.integers(0, 2**32 - 1), share=st.floats(0, 1))
def test_the_label_stays_and_the_rest_is_made_of_it(size: tuple[int, int], seed: int, share: float) -> None:
    random = np.random.default_rng(seed)
    inside = random.random(size) < share
    inside.flat[random.integers(inside.size)] = True
    # Every pixel has a unique color, which identifies its origin.
    number = np.arange(inside.size, dtype=np.uint16).reshape(size)
    picture = np.stack([number >> 8, number & 255, 0 * number], -1).astype(np.uint8)
    before = picture.copy()
    result = filled(picture, inside)
    assert (result.dtype, result.shape) == (np.uint8, picture.shape)
    np.testing.assert_array_equal(result[inside], picture[inside])
    sources = 256 * result[..., 0].astype(int) + result[..., 1]
    assert inside.flat[sources].all()
    np.testing.assert_array_equal(picture, before)


corner = st.tuples(st.floats(0, 1), st.floats(0, 1))


@settings(max_examples=60, deadline=None)
@given(corners=st.lists(corner, min_size=3, max_size=6), outside=st.booleans())
def test_slivers_and_spikes_stay_near_their_statistics(
    corners: list[tuple[float, float]], outside: bool
) -> None:
    inside = polygon(*corners) ^ outside
    assume(0.05 < inside.mean() < 0.95)
    mean, covariance = differences(PHOTOS["coffee"], inside)
    assert mean < 2
    assert covariance < 0.1


@pytest.mark.parametrize("turned", [False, True])
def test_half_a_picture_is_continued_by_its_mirror_image(turned: bool) -> None:
    photo = PHOTOS["chelsea"]
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[: HEIGHT // 2] = True
    expected = np.concatenate([photo[: HEIGHT // 2], photo[: HEIGHT // 2][::-1]])
    if turned:
        photo, inside, expected = (np.rot90(each) for each in (photo, inside, expected))
    np.testing.assert_array_equal(filled(photo, inside), expected)


def test_a_label_everywhere_leaves_the_picture() -> None:
    photo = PHOTOS["coffee"]
    np.testing.assert_array_equal(filled(photo, np.ones((HEIGHT, WIDTH), bool)), photo)


def test_one_pixel_fills_all() -> None:
    photo = PHOTOS["astronaut"]
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[90, 200] = True
    assert (filled(photo, inside) == photo[90, 200]).all()
