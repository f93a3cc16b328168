from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage import data

from device_runtime.stylizers.resize import network_size, resized, style_size
from training.options import StylizerDims
from training.stylizer import network_size as training_network_size
from training.stylizer import style_size as training_style_size

DIMS = StylizerDims(variant="lite")
SIZES = (
    (1080, 1920),
    (1920, 1080),
    (2160, 3840),
    (288, 512),
    (480, 271),
    (97, 131),
    (9, 16),
    (1, 1),
    (5, 4000),
)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_sizes_are_those_of_training(height: int, width: int) -> None:
    found = network_size(height, width, pixels=DIMS.network_pixels, cell=DIMS.map_cell)
    assert found == training_network_size(height, width, DIMS)
    assert style_size(height, width, pixels=DIMS.style_pixels) == training_style_size(height, width, DIMS)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((512, 512), (384, 384)),
        ((200, 310), (24, 56)),
        ((60, 90), (97, 131)),
        ((97, 131), (97, 40)),
        ((1, 1), (16, 16)),
    ],
)
def test_resizing_is_pytorchs_with_anti_aliasing(before: tuple[int, int], after: tuple[int, int]) -> None:
    picture = np.ascontiguousarray(data.astronaut()[: before[0], : before[1]])
    planes = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    expected = F.interpolate(planes, size=after, mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()
    found = resized(picture, after)
    assert (found.dtype, found.shape) == (np.uint8, (*after, 3))
    assert np.abs(found - expected).max() < 0.51  # rounding; PyTorch places its filter in single precision


def test_the_finest_detail_does_not_become_a_pattern() -> None:
    y, x = np.mgrid[0:300, 0:400]
    stripes = np.repeat((255 * ((x + y) % 2))[..., None], 3, axis=2).astype(np.uint8)
    assert np.ptp(resized(stripes, (96, 128))[2:-2, 2:-2].astype(int)) < 10


def test_a_picture_of_that_size_is_passed_on_and_no_input_is_changed() -> None:
    picture = data.coffee()
    kept = picture.copy()
    assert resized(picture, picture.shape[:2]) is picture
    resized(picture, (40, 64))
    np.testing.assert_array_equal(picture, kept)
