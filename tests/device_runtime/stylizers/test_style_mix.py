from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage import data

from device_runtime.media.photo import PhotoError, read_photo, write_photo
from device_runtime.options import StylizeOptions
from device_runtime.pipeline import stylize_photo
from device_runtime.resume import describe_job
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from device_runtime.stylizers.style_mix import StyleMix, StyleWeightError, normalized
from mvstylizer.bundle import default_bundle, load_bundle


@pytest.fixture
def photos(tmp_path: Path) -> tuple[Path, Path]:
    warm, cold = tmp_path / "warm.png", tmp_path / "cold.png"
    write_photo(warm, data.coffee())
    write_photo(cold, data.coffee()[..., ::-1].copy())
    return warm, cold


def test_codes_mix_linearly_and_one_photo_gives_its_own_code(photos: tuple[Path, Path]) -> None:
    with OnnxStylizer(load_bundle(default_bundle())) as stylizer:
        codes = [StyleMix.read(photo).encoded_by(stylizer) for photo in photos]
        mixed = StyleMix.read(dict(zip(photos, (3, 1), strict=True))).encoded_by(stylizer)
    np.testing.assert_array_equal(codes[0], StyleMix.of(data.coffee()).encoded_by(stylizer))
    np.testing.assert_allclose(mixed, 0.75 * codes[0] + 0.25 * codes[1], rtol=1e-5, atol=1e-5)
    assert mixed.dtype == np.float32


def test_a_mix_looks_between_its_styles(photos: tuple[Path, Path], tmp_path: Path) -> None:
    source, out = tmp_path / "source.png", tmp_path / "out.png"
    write_photo(source, data.chelsea())
    warmth = []
    with OnnxStylizer(load_bundle(default_bundle())) as stylizer:
        for weights in ((1, 0), (0.7, 0.3), (0.3, 0.7), (0, 1)):
            stylize_photo(source, dict(zip(photos, weights, strict=True)), out, stylizer=stylizer)
            red, _, blue = read_photo(out).mean((0, 1))
            warmth.append(red - blue)
    assert (np.diff(warmth) < -5).all()


@pytest.mark.parametrize("weights", [(1, -1), (0, 0), (float("nan"), 1), (float("inf"), 1)])
def test_invalid_weights_are_refused(photos: tuple[Path, Path], weights: tuple[float, float]) -> None:
    with pytest.raises(StyleWeightError, match="weights"):
        StyleMix.read(dict(zip(photos, weights, strict=True)))
    with pytest.raises(StyleWeightError, match="weights"):
        normalized({})


def test_a_missing_photo_is_named(photos: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match=r"nothing\.png"):
        StyleMix.read({photos[0]: 1, tmp_path / "nothing.png": 1})


def test_another_mix_is_another_job_and_the_same_shares_are_the_same(photos: tuple[Path, Path]) -> None:
    bundle = load_bundle(default_bundle())

    def job(*weights: float) -> object:
        return describe_job(photos[0], dict(zip(photos, weights, strict=True)), bundle, StylizeOptions())

    assert job(0.5, 0.5) == job(2, 2)
    assert job(1, 0) == describe_job(photos[0], photos[0], bundle, StylizeOptions())
    assert job(0.7, 0.3) != job(0.3, 0.7) != job(0, 1)


def test_the_match_is_the_first_value_of_the_code_and_changes_the_picture(photos: tuple[Path, Path]) -> None:
    with OnnxStylizer(load_bundle(default_bundle("lite"))) as stylizer:
        codes = [StyleMix.read(photos[0], match).encoded_by(stylizer) for match in ("auto", 0.0, 0.5, 1.0)]
        assert [code[0] for code in codes] == [-1, 0, 0.5, 1]
        for code in codes[1:]:
            np.testing.assert_array_equal(code[1:], codes[0][1:])
        _, look, half, palette = (
            stylizer.stylize(data.chelsea(), code).image.astype(float) for code in codes
        )
    assert np.abs(palette - look).mean() > 5
    assert np.abs(half - (look + palette) / 2).mean() < 1


@pytest.mark.parametrize("match", [-0.1, 1.1, float("nan")])
def test_a_match_out_of_range_is_refused(match: float) -> None:
    with pytest.raises(ValueError, match="neither auto nor between 0 and 1"):
        StylizeOptions(match=match)
