"""Pictures that stay in Y'CbCr look like those that go through RGB."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from device_runtime.kernels import Transfer
from device_runtime.media.color import FULL_RANGE, LIMITED_RANGE, Color, ColorConverter
from device_runtime.media.orientation import Orientation
from device_runtime.media.planes import Planes, in_rgb, planes_of
from device_runtime.media.reader import VideoReader
from tests.device_runtime.clips import write_clip

SIZE = (320, 240)
PHOTO = cv2.resize(data.coffee(), SIZE, interpolation=cv2.INTER_AREA)
COLORS = [
    Color(matrix, range_, 1, 1, matrix) for matrix in (1, 6, 9) for range_ in (LIMITED_RANGE, FULL_RANGE)
]


@pytest.fixture(scope="module")
def transfer(kernels: Path) -> Iterator[Transfer]:
    with Transfer(kernels / "transfer.tflite", threads=1) as made:
        yield made


def filmed(color: Color, rgb: NDArray[np.uint8] = PHOTO) -> Planes:
    planes = planes_of(ColorConverter(color).from_rgb(rgb, "yuv420p"), color, Orientation())
    assert planes is not None
    return planes


def look(bins: int = 6, spread: float = 0.04) -> NDArray[np.float32]:
    """A warm look with a tone curve, and some noise from cell to cell."""
    base = np.array([[1.05, 0.05, 0, 0.02], [0, 0.95, 0.02, 0.01], [0.03, 0, 0.8, 0.03]])
    gains = np.linspace(1.1, 0.9, bins)[:, None, None]
    noise = np.random.default_rng(0).normal(0, spread, (9, 16, bins, 3, 4))
    return np.asarray(gains * base + noise, np.float32)


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(cv2.PSNR(a, b))


@pytest.mark.parametrize("color", COLORS, ids=lambda c: f"matrix {c.matrix}, range {c.range}")
def test_a_styled_picture_equals_the_rgb_path(transfer: Transfer, color: Color) -> None:
    """Compared in the codes of the encoder's input, so that both have the same chroma resolution."""
    planes, grid = filmed(color), look()
    found = Planes(transfer.yuv420(planes.i420, grid, planes.codes), color)
    expected = filmed(color, transfer(planes.rgb, grid))
    assert psnr(found.luma, expected.luma) > 45
    assert psnr(found.i420, expected.i420) > 45


def test_the_identity_returns_every_code(transfer: Transfer) -> None:
    """Codes that no RGB has included."""
    i420 = np.random.default_rng(1).integers(0, 256, (240 * 3 // 2, 320), np.uint8)
    identity = np.tile(np.eye(3, 4, dtype=np.float32), (9, 16, 4, 1, 1))
    for color in COLORS:
        planes = Planes(i420, color)
        found = transfer.yuv420(i420, identity, planes.codes)
        # Where luma is beyond black or white, the codes are still those of the identity.
        np.testing.assert_allclose(found.astype(int), i420, atol=1)


def test_the_guide_is_bt709_luma_whatever_the_matrix(transfer: Transfer) -> None:
    """Red is darker by BT.709 (0.21) than by BT.601 (0.30): a step between the two tells them apart."""
    red = np.zeros((48, 64, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
    grid = np.zeros((1, 1, 11, 3, 4), np.float32)
    grid[0, 0, :, :, 3] = np.linspace(0, 1, 11)[:, None]  # paints each pixel in its own luma
    for matrix, color in zip((1, 6, 9), COLORS[::2], strict=True):
        planes = filmed(color, red)
        gray = Planes(transfer.yuv420(planes.i420, grid, planes.codes), color).rgb
        assert abs(gray.mean() - 0.2126 * 255) < 2, matrix


@pytest.mark.parametrize("color", COLORS, ids=lambda c: f"matrix {c.matrix}, range {c.range}")
def test_small_pictures_and_thumbnails_are_those_of_rgb(color: Color) -> None:
    planes = filmed(color)
    small = planes.shrunk(80 * 60)
    assert small.shape == (60, 80, 3)
    assert psnr(small, cv2.resize(PHOTO, (80, 60), interpolation=cv2.INTER_AREA)) > 38
    assert planes.shrunk(10**6) is planes.rgb
    luma = planes.thumbnail(160, 90).astype(int)
    weights = {1: (0.2126, 0.7152, 0.0722), 6: (0.299, 0.587, 0.114), 9: (0.2627, 0.678, 0.0593)}
    wanted = cv2.resize(PHOTO, (160, 90), interpolation=cv2.INTER_AREA) @ np.array(weights[color.matrix])
    assert np.abs(luma - wanted).mean() < 1.5


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_planes_are_turned_upright(tmp_path: Path, rotation: int) -> None:
    clip = write_clip(tmp_path / "a.mp4", range(3), rotation=rotation)
    with VideoReader(clip) as reader:
        frame = next(iter(reader))
        assert isinstance(frame.picture, Planes)
        assert frame.picture.shape == (reader.info.height, reader.info.width, 3)
    with av.open(str(clip)) as container:
        stored = next(container.decode(video=0)).to_ndarray(format="rgb24")
    upright = reader.info.orientation.apply(stored)
    assert np.abs(frame.rgb.astype(int) - upright).mean() < 3


def test_formats() -> None:
    planes = filmed(COLORS[0])
    i420 = planes.frame()
    for name in ("yuv420p", "nv12", "yuvj420p"):
        converted = planes_of(i420.reformat(format=name), COLORS[0], Orientation())
        assert converted is not None
        assert np.abs(converted.i420.astype(int) - planes.i420).mean() < (25 if name == "yuvj420p" else 0.01)
    for name in ("yuv422p", "yuv420p10le", "rgb24"):
        assert planes_of(i420.reformat(format=name), COLORS[0], Orientation()) is None
    odd = av.VideoFrame.from_ndarray(np.zeros((31, 33, 3), np.uint8), format="rgb24")
    odd.time_base = Fraction(1, 25)
    assert planes_of(odd.reformat(format="yuv420p"), COLORS[0], Orientation()) is None


def test_an_rgb_picture_is_returned_as_it_is() -> None:
    assert in_rgb(PHOTO) is PHOTO
    planes = filmed(COLORS[0])
    assert in_rgb(planes) is in_rgb(planes)
