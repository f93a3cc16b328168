from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from device_runtime.interpolation.grid import applied, sliced
from device_runtime.stylizers.onnx_stylizer import LocalStylizerError, OnnxStylizer
from mvstylizer.bundle import BundleError, default_bundle, load_bundle

STYLE = data.coffee()
FRAME = np.ascontiguousarray(cv2.resize(data.astronaut(), (160, 96)))


@pytest.fixture(scope="module")
def stylizer() -> Iterator[OnnxStylizer]:
    with OnnxStylizer(load_bundle(default_bundle()), threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def code(stylizer: OnnxStylizer) -> np.ndarray:
    return stylizer.encode_style(STYLE)


def test_a_style_code_is_a_vector_of_the_styles_own(stylizer: OnnxStylizer, code: np.ndarray) -> None:
    assert code.dtype == np.float32
    assert code.ndim == 1
    assert not np.allclose(code, stylizer.encode_style(data.chelsea()))


def test_a_reply_holds_what_was_asked_for(stylizer: OnnxStylizer, code: np.ndarray) -> None:
    image, grid = (stylizer.stylize(FRAME, code, reply=reply) for reply in ("image", "map"))
    both = stylizer.stylize(FRAME, code, reply="both")
    assert image.grid is None
    assert grid.image is None
    assert image.image is not None
    assert grid.grid is not None
    assert (image.image.dtype, image.image.shape) == (np.uint8, FRAME.shape)
    assert (grid.grid.dtype, grid.grid.shape[3:]) == (np.float32, (3, 4))
    np.testing.assert_array_equal(both.image, image.image)
    np.testing.assert_array_equal(both.grid, grid.grid)


def test_the_image_is_the_map_applied_to_the_frame(stylizer: OnnxStylizer, code: np.ndarray) -> None:
    both = stylizer.stylize(FRAME, code, reply="both")
    assert both.image is not None
    assert both.grid is not None
    unit = FRAME.astype(np.float32) / 255
    expected = np.clip(applied(sliced(both.grid, unit), unit), 0, 1) * 255
    assert np.abs(both.image - expected).max() <= 2


def test_the_picture_takes_the_styles_colors(stylizer: OnnxStylizer, code: np.ndarray) -> None:
    image = stylizer.stylize(FRAME, code).image
    assert image is not None
    style, before, after = (p.reshape(-1, 3).mean(0) for p in (STYLE, FRAME, image))
    assert np.linalg.norm(after - style) < 0.5 * np.linalg.norm(before - style)


def test_upscaling(stylizer: OnnxStylizer, code: np.ndarray) -> None:
    image = stylizer.stylize(FRAME, code, r=1.5).image
    assert image is not None
    assert image.shape == (144, 240, 3)


def test_a_broken_bundle_is_reported_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(default_bundle(), folder)
    (folder / "stylizer.onnx").write_bytes(b"not a model")
    with pytest.raises(BundleError, match="sha256 differs"):
        OnnxStylizer(load_bundle(folder))


def test_input_rejected_by_the_model_is_reported_in_one_line(
    stylizer: OnnxStylizer, code: np.ndarray
) -> None:
    with pytest.raises(LocalStylizerError, match="model failed") as caught:
        stylizer.stylize(FRAME, code[:3])
    assert "\n" not in str(caught.value)
