from __future__ import annotations

import os
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from device_runtime.media.atomic_file import OutputError
from device_runtime.media.photo import PhotoError, is_photo, read_photo, write_photo


def gradient() -> np.ndarray:
    y, x = np.mgrid[0:40, 0:60]
    return np.stack([x * 4, y * 6, 255 - x * 4], -1).astype(np.uint8)


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """Insert an EXIF block (TIFF 6.0, tag 0x0112) after the start marker."""
    tiff = b"MM\x00\x2a\x00\x00\x00\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    body = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_lossless_formats_keep_every_pixel(tmp_path: Path, suffix: str) -> None:
    write_photo(tmp_path / f"a{suffix}", gradient())
    assert is_photo(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(read_photo(tmp_path / f"a{suffix}"), gradient())


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".webp"])
def test_lossy_formats_keep_the_picture(tmp_path: Path, suffix: str) -> None:
    write_photo(tmp_path / f"a{suffix}", gradient())
    assert np.abs(read_photo(tmp_path / f"a{suffix}").astype(int) - gradient()).mean() < 4


@pytest.mark.parametrize(("orientation", "quarter_turns"), [(1, 0), (6, -1), (3, 2), (8, 1)])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, quarter_turns: int) -> None:
    write_photo(tmp_path / "a.jpg", gradient())
    turned = tmp_path / "turned.jpg"
    turned.write_bytes(with_orientation((tmp_path / "a.jpg").read_bytes(), orientation))
    np.testing.assert_array_equal(read_photo(turned), np.rot90(read_photo(tmp_path / "a.jpg"), quarter_turns))


def test_gray_and_transparent_photos_become_rgb(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "gray.png"), gradient()[..., 0])
    cv2.imwrite(str(tmp_path / "alpha.png"), cv2.cvtColor(gradient(), cv2.COLOR_RGB2BGRA))
    assert read_photo(tmp_path / "gray.png").shape == (40, 60, 3)
    np.testing.assert_array_equal(read_photo(tmp_path / "alpha.png"), gradient())


def test_an_invalid_photo_is_refused_in_one_line(tmp_path: Path, bikes: Path) -> None:
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "empty.jpg").touch()
    write_photo(tmp_path / "a.png", gradient())
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    for path in (tmp_path / "text.jpg", tmp_path / "empty.jpg", tmp_path / "cut.png", bikes):
        with pytest.raises(PhotoError, match="cannot be read as a picture"):
            read_photo(path)
    for path in (tmp_path / "missing.jpg", tmp_path):
        with pytest.raises(PhotoError, match="cannot be read"):
            read_photo(path)
    assert not is_photo(bikes)
    assert not is_photo(tmp_path / "missing.jpg")


def test_bad_outputs_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="suffix"):
        write_photo(tmp_path / "a.mp4", gradient())
    with pytest.raises(OutputError, match="no folder"):
        write_photo(tmp_path / "missing" / "a.jpg", gradient())
    assert os.listdir(tmp_path) == []
