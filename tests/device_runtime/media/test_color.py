from __future__ import annotations

import av
import cv2
import numpy as np
import pytest

from device_runtime.media.color import BT601, BT709, FULL_RANGE, LIMITED_RANGE, Color, ColorConverter

RED_AND_BLUE = {BT709: (0.2126, 0.0722), BT601: (0.299, 0.114)}


def patches() -> np.ndarray:
    """Flat 16-pixel patches, so that the subsampled chroma has one right value."""
    colors = np.random.default_rng(1).integers(0, 256, (9, 16, 3), np.uint8)
    return np.repeat(np.repeat(colors, 16, 0), 16, 1)


def yuv_by_definition(rgb: np.ndarray, matrix: int, color_range: int) -> np.ndarray:
    """ITU-R BT.601 and BT.709, section 3 of each, in double precision."""
    red, blue = RED_AND_BLUE[matrix]
    r, g, b = np.moveaxis(rgb / 255.0, -1, 0)
    y = red * r + (1 - red - blue) * g + blue * b
    u, v = (b - y) / (2 - 2 * blue), (r - y) / (2 - 2 * red)
    if color_range == FULL_RANGE:
        return np.stack([255 * y, 255 * u + 128, 255 * v + 128])
    return np.stack([219 * y + 16, 224 * u + 128, 224 * v + 128])


def color(matrix: int, color_range: int) -> Color:
    return Color(matrix, color_range, primaries=1, transfer=1, conversion=matrix)


@pytest.mark.parametrize("matrix", [BT601, BT709])
@pytest.mark.parametrize("color_range", [LIMITED_RANGE, FULL_RANGE])
@pytest.mark.parametrize(("pixel_format", "chroma_step"), [("yuv420p", 8), ("yuv444p", 16)])
def test_yuv_is_what_the_standard_says(
    matrix: int, color_range: int, pixel_format: str, chroma_step: int
) -> None:
    rgb = patches()
    frame = ColorConverter(color(matrix, color_range)).from_rgb(rgb, pixel_format)
    expected = yuv_by_definition(rgb[8::16, 8::16], matrix, color_range)
    for plane, value, step in zip(frame.planes, expected, (16, chroma_step, chroma_step), strict=True):
        pixels = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, : plane.width]
        assert np.abs(pixels[step // 2 :: step, step // 2 :: step] - value).max() < 1.05


@pytest.mark.parametrize("matrix", [BT601, BT709])
@pytest.mark.parametrize("color_range", [LIMITED_RANGE, FULL_RANGE])
def test_many_round_trips_neither_darken_nor_tint(matrix: int, color_range: int) -> None:
    smooth = cv2.resize(patches()[::16, ::16], (256, 144), interpolation=cv2.INTER_CUBIC)
    converter = ColorConverter(color(matrix, color_range))
    rgb = smooth
    for _ in range(5):
        rgb = converter.to_rgb(converter.from_rgb(rgb, "yuv420p"), 256, 144)
    drift = (rgb.astype(float) - smooth)[8:-8, 8:-8].mean((0, 1))
    assert np.abs(drift).max() < 0.2


def decoded(width: int, height: int, pixel_format: str = "yuv420p") -> av.VideoFrame:
    return av.VideoFrame(width, height, pixel_format)


def test_an_untagged_video_is_read_like_players_do_and_stays_untagged() -> None:
    small, large = Color.of(decoded(640, 480)), Color.of(decoded(1280, 720))
    assert (small.conversion, large.conversion) == (BT601, BT709)
    assert small.matrix == large.matrix == 2


def test_tags_win_over_the_size() -> None:
    frame = decoded(1920, 1080)
    frame.colorspace, frame.color_range = BT601, FULL_RANGE
    tagged = Color.of(frame)
    assert (tagged.matrix, tagged.range, tagged.conversion) == (BT601, FULL_RANGE, BT601)


def test_an_rgb_source_is_tagged_with_the_matrix_it_is_written_with() -> None:
    tagged = Color.of(decoded(320, 240, "rgb24"))
    assert (tagged.matrix, tagged.range) == (BT601, LIMITED_RANGE)
