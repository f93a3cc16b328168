from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator
from skimage import data

from benchmarks.data.lut_truth import LutTruthError, apply_lut, held_out, load_luts, lut_cases, read_cases

SIDE = 5


def random_luts(count: int = 6) -> np.ndarray:
    axis = np.linspace(0, 1, SIDE)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")
    identity = np.stack([red, green, blue], axis=-1)
    rng = np.random.default_rng(0)
    return np.asarray(np.clip(identity + rng.normal(0, 0.1, (count, *identity.shape)), 0, 1), np.float32)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("coffee", "astronaut", "chelsea"):
        cv2.imwrite(str(folder / f"{name}.png"), getattr(data, name)()[::4, ::4, ::-1])
    return folder


def test_a_lut_is_read_as_scipy_reads_it() -> None:
    lut = random_luts(1)[0]
    picture = np.random.default_rng(1).integers(0, 256, (16, 24, 3), np.uint8)
    axis = np.linspace(0, 1, SIDE)
    wanted = RegularGridInterpolator((axis, axis, axis), lut)(picture[..., ::-1] / 255)
    assert np.abs(apply_lut(lut, picture) - wanted * 255).max() <= 0.51


def test_the_truth_is_the_content_under_the_styles_lut(photos: Path) -> None:
    luts = random_luts()
    cases = list(lut_cases(photos, luts, 7))
    assert [case.name for case in cases] == ["00", "01", "02", "03", "04", "05", "06"]
    for number, case in enumerate(cases):
        assert np.array_equal(case.target, apply_lut(luts[number % len(luts)], case.content))
        assert case.style.shape != case.content.shape or not np.array_equal(case.style, case.target)
    again = list(lut_cases(photos, luts, 7))
    assert all(np.array_equal(a.style, b.style) for a, b in zip(cases, again, strict=True))


def test_every_fifth_lut_is_held_out() -> None:
    luts = random_luts()
    assert np.array_equal(held_out(luts), luts[[2]])


def test_targets_of_a_folder(tmp_path: Path) -> None:
    for part, shade in (("content", 50), ("style", 90), ("target", 70)):
        cv2.imwrite(str(tmp_path / f"3_{part}.png"), np.full((20, 30, 3), shade, np.uint8))
    (case,) = read_cases(tmp_path)
    assert (case.name, case.content[0, 0, 0], case.style[0, 0, 0], case.target[0, 0, 0]) == ("3", 50, 90, 70)
    cv2.imwrite(str(tmp_path / "3_target.png"), np.zeros((20, 31, 3), np.uint8))
    with pytest.raises(LutTruthError, match="3_target is not of its content's size"):
        list(read_cases(tmp_path))
    (tmp_path / "3_style.png").unlink()
    with pytest.raises(LutTruthError, match="holds no 3_style photo"):
        list(read_cases(tmp_path))


def test_bad_input_is_refused(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(LutTruthError, match="holds no targets"):
        list(read_cases(tmp_path))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(LutTruthError, match="holds 0 photos"):
        list(lut_cases(empty, random_luts(), 3))
    wrong = tmp_path / "wrong.npz"
    np.savez(wrong, luts=np.zeros((2, 3, 4, 5, 3)))
    with pytest.raises(LutTruthError, match="LUTs of shape"):
        load_luts(wrong)
    wrong.write_bytes(b"not an archive")
    with pytest.raises(LutTruthError, match="cannot be read as LUTs"):
        load_luts(wrong)
    np.savez(wrong, tables=random_luts())
    with pytest.raises(LutTruthError, match="cannot be read as LUTs"):
        load_luts(wrong)
