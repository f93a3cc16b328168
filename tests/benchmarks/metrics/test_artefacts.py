from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data
from skimage.color import deltaE_cie76, rgb2lab

from benchmarks.metrics.artefacts import artefacts

Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def street() -> Picture:
    return np.asarray(cv2.resize(data.coffee(), (384, 256), interpolation=cv2.INTER_AREA), np.uint8)


@pytest.fixture(scope="module")
def face() -> Picture:
    return np.asarray(cv2.resize(data.astronaut(), (256, 256), interpolation=cv2.INTER_AREA), np.uint8)


def as_picture(values: NDArray[np.floating]) -> Picture:
    return np.asarray(np.rint(np.clip(values, 0, 255)), np.uint8)


def graded(picture: Picture) -> Picture:
    """A smooth global grade: warmer, a gentle S curve."""
    unit = picture / 255
    curve = unit + 0.1 * np.sin(2 * np.pi * (unit - 0.5)) / 2
    return as_picture(255 * curve * [1.05, 1.0, 0.85])


def test_an_unchanged_picture_has_none(street: Picture) -> None:
    found = artefacts(street, street, street)
    assert found.black_point == 0
    assert found.local_contrast == pytest.approx(1)
    assert found.patches < 0.5
    assert abs(found.bleeding) < 0.5
    assert found.neutral_drift in (None, 0)


def test_fog_raises_the_black_point_and_lowers_local_contrast(street: Picture) -> None:
    found = artefacts(street, street, as_picture(110 + 0.5 * street))
    lifted = rgb2lab(np.full((1, 1, 3), 110 + np.percentile(street, 1) / 2) / 255)[0, 0, 0]
    assert found.black_point > 0.8 * lifted - np.percentile(rgb2lab(street)[..., 0], 1) > 20
    assert found.local_contrast < 0.7


def test_a_global_grade_has_no_patches_and_does_not_bleed(street: Picture) -> None:
    found = artefacts(street, street, graded(street))
    assert found.patches < 1
    assert abs(found.bleeding) < 0.5


def test_a_tinted_patch_is_found(street: Picture) -> None:
    tinted = graded(street).astype(float)
    tinted[:, :192] += [0, 0, 60]
    assert artefacts(street, street, as_picture(tinted)).patches > 4


def test_colour_that_runs_over_edges_bleeds(street: Picture) -> None:
    """The same grade with its colour change blurred, as a coarse affine map would apply it."""
    strong = as_picture(np.where(street.mean(2, keepdims=True) > 128, street * [1.3, 0.9, 0.5], street))
    change = cv2.GaussianBlur(strong.astype(np.float32) - street, (0, 0), 6)
    sharp, run = (artefacts(street, street, x).bleeding for x in (strong, as_picture(street + change)))
    assert run > sharp + 0.5


def test_neutrals_that_are_tinted_alone_and_skin_that_moves(face: Picture) -> None:
    green = as_picture(face + np.array([-15.0, 15.0, -15.0]))
    everywhere = artefacts(face, face, green)
    assert artefacts(face, face, face).skin_drift == 0
    assert everywhere.skin_drift == pytest.approx(deltaE_cie76(rgb2lab(face), rgb2lab(green)).mean(), rel=0.4)
    neutral = np.linalg.norm(rgb2lab(face)[..., 1:], axis=2, keepdims=True) < 5
    alone = artefacts(face, face, as_picture(np.where(neutral, green, face)))
    assert everywhere.neutral_drift == pytest.approx(0, abs=6)
    assert alone.neutral_drift is not None
    assert alone.neutral_drift > 7  # the whole picture shifts a little with its neutrals


def test_a_picture_without_neutrals_or_skin_says_so() -> None:
    blue = np.full((64, 64, 3), (20, 40, 200), np.uint8)
    found = artefacts(blue, blue, blue)
    assert found.neutral_drift is None
    assert found.skin_drift is None
