"""Pictures that stay in Y'CbCr look like those that go through RGB."""

from __future__ import annotations

from collections.abc import Iterator
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


def filmed(color: Color, rgb: NDArray[np.uint8] = PHOTO, pixel_format: str = "yuv420p") -> Planes:
    """A photo in planes, through swscale; with 10 bits, the photo's 8 have no values between them."""
    frame = ColorConverter(color).from_rgb(rgb, "yuv444p" if "44" in pixel_format else "yuv420p")
    if frame.format.name != pixel_format:
        frame = frame.reformat(format=pixel_format)
    planes = planes_of(frame, color, Orientation())
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
    found = transfer.yuv(planes.planes, grid, planes.codes)
    expected = filmed(color, transfer(planes.rgb, grid))
    assert psnr(found[0], expected.luma) > 45
    assert psnr(*(np.concatenate([each.ravel() for each in p]) for p in (found, expected.planes))) > 45


@pytest.mark.parametrize("pixel_format", ["yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le"])
@pytest.mark.parametrize("size", [(320, 240), (319, 239)])
def test_every_format_equals_the_rgb_path(
    transfer: Transfer, pixel_format: str, size: tuple[int, int]
) -> None:
    """Shown, that is, in RGB: for 10 bits the RGB path has 8."""
    rgb = cv2.GaussianBlur(cv2.resize(PHOTO, size), (0, 0), 2)  # without detail that chroma lacks
    color, grid = COLORS[0], look()
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
        format=pixel_format, dst_colorspace=1, dst_color_range=1
    )
    planes = planes_of(frame, color, Orientation())
    assert planes is not None
    assert planes.bits == (10 if "10" in pixel_format else 8)
    shown = Planes(transfer.yuv(planes.planes, grid, planes.codes), color).rgb
    assert psnr(shown, transfer(planes.rgb, grid)) > 45


def test_ten_bits_are_computed_without_eight(transfer: Transfer) -> None:
    """A smooth ramp keeps its steps, and its values are those of the formula within one code."""
    ramp = np.tile(np.linspace(64, 940, 512).astype(np.uint16), (64, 1))
    gray = np.full((32, 256), 512, np.uint16)
    planes = Planes((ramp, gray, gray), COLORS[0])
    grid = np.tile(
        np.array([[0.7, 0, 0, 0.1], [0, 0.7, 0, 0.1], [0, 0, 0.7, 0.1]], np.float32), (9, 16, 4, 1, 1)
    )
    y, u, v = transfer.yuv(planes.planes, grid, planes.codes)
    expected = 64 + 876 * (0.7 * (ramp.astype(float) - 64) / 876 + 0.1)
    assert np.abs(y - expected).max() <= 0.51
    assert len(np.unique(y)) > 400  # 8 bits would leave 153
    assert np.abs(u.astype(int) - 512).max() == np.abs(v.astype(int) - 512).max() == 0


@pytest.mark.parametrize("bits", [8, 10])
def test_the_identity_returns_every_code(transfer: Transfer, bits: int) -> None:
    """Codes that no RGB has included."""
    rng, dtype = np.random.default_rng(1), np.uint8 if bits == 8 else np.uint16
    y, u, v = (rng.integers(0, 2**bits, size, dtype) for size in ((240, 320), (120, 160), (120, 160)))
    identity = np.tile(np.eye(3, 4, dtype=np.float32), (9, 16, 4, 1, 1))
    for color in COLORS:
        planes = Planes((y, u, v), color)
        found = transfer.yuv(planes.planes, identity, planes.codes)
        # Where luma is beyond black or white, the codes are still those of the identity.
        for ours, theirs in zip(found, planes.planes, strict=True):
            np.testing.assert_allclose(ours.astype(int), theirs, atol=1)


def test_the_guide_is_bt709_luma_whatever_the_matrix(transfer: Transfer) -> None:
    """Red is darker by BT.709 (0.21) than by BT.601 (0.30): a step between the two tells them apart."""
    red = np.zeros((48, 64, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
    grid = np.zeros((1, 1, 11, 3, 4), np.float32)
    grid[0, 0, :, :, 3] = np.linspace(0, 1, 11)[:, None]  # paints each pixel in its own luma
    for matrix, color in zip((1, 6, 9), COLORS[::2], strict=True):
        planes = filmed(color, red)
        gray = Planes(transfer.yuv(planes.planes, grid, planes.codes), color).rgb
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


@pytest.mark.parametrize(
    ("pixel_format", "chroma", "bits"),
    [
        ("yuv420p", (24, 32), 8),
        ("nv12", (24, 32), 8),
        ("nv21", (24, 32), 8),
        ("yuv422p", (48, 32), 8),
        ("yuyv422", (48, 32), 8),
        ("uyvy422", (48, 32), 8),
        ("yuv444p", (48, 64), 8),
        ("yuva420p", (24, 32), 8),
        ("p010le", (24, 32), 10),
        ("yuv420p10le", (24, 32), 10),
        ("yuv422p10le", (48, 32), 10),
        ("yuv444p12le", (48, 64), 10),
        ("gbrp10le", (48, 64), 10),
    ],
)
def test_every_format_becomes_planes(pixel_format: str, chroma: tuple[int, int], bits: int) -> None:
    """Compared with FFmpeg's own conversion of the same frame to RGB."""
    rgb = cv2.GaussianBlur(cv2.resize(PHOTO, (64, 48)), (0, 0), 3)
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pixel_format)
    planes = planes_of(frame, COLORS[2], Orientation())  # BT.601, swscale's default
    assert planes is not None
    assert (planes.shape, planes.planes[1].shape, planes.bits) == ((48, 64, 3), chroma, bits)
    assert psnr(planes.rgb, rgb) > 36
    assert np.abs(planes.rgb.astype(float) - rgb).mean((0, 1)).max() < 2
    again = planes_of(planes.frame(), COLORS[2], Orientation())
    assert again is not None
    for ours, theirs in zip(again.planes, planes.planes, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_full_range_formats_keep_their_codes() -> None:
    frame = av.VideoFrame(320, 240, "yuvj420p")
    codes = [np.random.default_rng(0).integers(0, 256, size, np.uint8) for size in ((240, 320), (120, 160))]
    for plane, given in zip(frame.planes, (codes[0], codes[1], codes[1]), strict=True):
        plane.update(given.tobytes())
    planes = planes_of(frame, COLORS[1], Orientation())
    assert planes is not None
    np.testing.assert_array_equal(planes.luma, codes[0])
    np.testing.assert_array_equal(planes.planes[2], codes[1])


def test_gray_has_neutral_chroma() -> None:
    gray = av.VideoFrame.from_ndarray(PHOTO[..., 1], format="gray")
    planes = planes_of(gray, COLORS[0], Orientation())
    assert planes is not None
    np.testing.assert_array_equal(planes.luma, PHOTO[..., 1])
    assert {128} == set(np.unique(planes.planes[1])) == set(np.unique(planes.planes[2]))


def test_rgb_of_eight_bits_stays_rgb() -> None:
    rgb = av.VideoFrame.from_ndarray(PHOTO, format="rgb24")
    assert planes_of(rgb, COLORS[0], Orientation()) is None


def test_a_frame_with_other_tags_is_converted() -> None:
    """As after a change of the matrix, range or size in the middle of a video."""
    rgb = cv2.GaussianBlur(PHOTO, (0, 0), 3)
    for color in COLORS[:4]:
        frame = ColorConverter(color).from_rgb(rgb, "yuv420p")
        frame.colorspace, frame.color_range = color.matrix, color.range
        planes = planes_of(frame, COLORS[0], Orientation(), (160, 120))
        assert planes is not None
        assert planes.color == COLORS[0]
        small = cv2.resize(rgb, (160, 120), interpolation=cv2.INTER_AREA)
        assert psnr(planes.rgb, small) > 40, color
        assert np.abs((planes.rgb.astype(float) - small).mean((0, 1))).max() < 1


def test_an_rgb_picture_is_returned_as_it_is() -> None:
    assert in_rgb(PHOTO) is PHOTO
    planes = filmed(COLORS[0])
    assert in_rgb(planes) is in_rgb(planes)
