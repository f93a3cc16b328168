"""Read label images and stylize label by label."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from device_runtime.labels.masks import LabeledPicture, LabelImageError, Labels, read_labels, stylize_labels
from device_runtime.media.photo import PhotoError, write_photo
from device_runtime.report import LabelUse, Stopwatch
from mvstylizer.stylizer import AUTO, PALETTE, Reply, StylizedFrame
from tests.device_runtime.media.test_photo import with_orientation

HEIGHT, WIDTH = 120, 160
PHOTO = np.ascontiguousarray(cv2.resize(data.coffee(), (WIDTH, HEIGHT)))
SKY, GROUND = 255, 0


class MeanStylizer:
    """Fake edge: every pixel becomes the mean color of the style. Records its requests."""

    def __init__(self) -> None:
        self.styles: list[NDArray[np.uint8]] = []
        self.frames: list[NDArray[np.uint8]] = []

    def encode_style(self, style: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.styles.append(style)
        return np.asarray([AUTO, *style.mean((0, 1)) / 255], np.float32)

    def stylize(
        self,
        frame: NDArray[np.uint8],
        style_code: NDArray[np.float32],
        *,
        r: float = 1.0,
        reply: Reply = "image",
    ) -> StylizedFrame:
        assert reply == "map"
        assert style_code[0] == PALETTE
        self.frames.append(frame)
        cell = np.concatenate([np.zeros((3, 3)), style_code[1:, None]], 1)
        return StylizedFrame(None, np.broadcast_to(cell, (6, 8, 2, 3, 4)).astype(np.float32), 1000, 10)

    def close(self) -> None:
        pass


def labels_of(picture: NDArray[np.uint8]) -> Labels:
    """Return a gray picture (H, W) as labels."""
    return picture.astype(np.int32) * 0x010101


def halves(height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """Return a gray label image (H, W): sky above, ground below."""
    picture = np.full((height, width), GROUND, np.uint8)
    picture[: height // 2] = SKY
    return picture


def two_colors(height: int = 90, width: int = 100) -> NDArray[np.uint8]:
    """Return a style (H, W, 3), bluish in the upper half, reddish in the lower, with some grain."""
    color = np.where(halves(height, width)[..., None] == SKY, [60, 90, 200], [190, 110, 50])
    grain = np.random.default_rng(1).integers(-20, 21, (height, width, 1))
    return np.asarray(color + grain, np.uint8)


def stylized(
    labels: NDArray[np.uint8], style_labels: NDArray[np.uint8], stylizer: MeanStylizer | None = None
) -> LabeledPicture:
    height, width = style_labels.shape
    return stylize_labels(
        PHOTO,
        two_colors(height, width),
        labels_of(labels),
        labels_of(style_labels),
        stylizer=stylizer or MeanStylizer(),
        map_pixels=1 << 20,
        watch=Stopwatch(),
    )


def test_a_gray_level_is_the_same_label_as_gray_in_rgb(tmp_path: Path) -> None:
    gray = halves()
    cv2.imwrite(str(tmp_path / "gray.png"), gray)
    cv2.imwrite(str(tmp_path / "rgb.png"), cv2.merge([gray] * 3))
    Image.fromarray(gray).convert("1").save(tmp_path / "bits.png")
    Image.fromarray(cv2.merge([gray] * 3)).convert("RGBA").save(tmp_path / "alpha.png")
    for path in tmp_path.iterdir():
        labels = read_labels(path, PHOTO)
        assert (labels.dtype, labels.shape) == (np.int32, (HEIGHT, WIDTH))
        np.testing.assert_array_equal(labels, labels_of(gray))


def test_a_color_is_a_label_in_rgb_and_in_a_palette(tmp_path: Path) -> None:
    number = np.random.default_rng(0).integers(0, 3, (HEIGHT, WIDTH), np.uint8)
    colors = np.array([[0x87, 0xCE, 0xEB], [0x22, 0x8B, 0x22], [1, 2, 3]], np.uint8)
    write_photo(tmp_path / "rgb.png", colors[number])
    palette = Image.fromarray(number, "P")
    palette.putpalette(colors.tobytes())
    palette.save(tmp_path / "palette.png")
    expected = np.array([0x87CEEB, 0x228B22, 0x010203])[number]
    for name in ("rgb.png", "palette.png"):
        np.testing.assert_array_equal(read_labels(tmp_path / name, PHOTO), expected)


@pytest.mark.parametrize(("rows", "columns"), [(60, 80), (240, 320), (90, 120), (67, 90)])
def test_another_size_of_the_same_aspect_ratio_is_resized_without_new_values(
    tmp_path: Path, rows: int, columns: int
) -> None:
    drawn = cv2.resize(PHOTO[..., 0], (columns, rows)) // 32 * 32
    cv2.imwrite(str(tmp_path / "a.png"), drawn)
    labels = read_labels(tmp_path / "a.png", PHOTO)
    assert set(np.unique(labels)) <= set(np.unique(labels_of(drawn)))
    nearest = np.asarray(Image.fromarray(drawn).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST))
    assert (labels == labels_of(nearest)).mean() > 0.999


@pytest.mark.parametrize(("rows", "columns"), [(WIDTH, HEIGHT), (HEIGHT, HEIGHT), (HEIGHT, WIDTH - 3)])
def test_another_aspect_ratio_is_refused(tmp_path: Path, rows: int, columns: int) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), halves(rows, columns))
    with pytest.raises(LabelImageError, match=f"{columns}×{rows}, which is not the aspect ratio .*160×120"):
        read_labels(tmp_path / "a.png", PHOTO)


def test_orientation_is_applied_as_to_the_photo(tmp_path: Path) -> None:
    _, jpeg = cv2.imencode(".jpg", halves(WIDTH, HEIGHT), [cv2.IMWRITE_JPEG_QUALITY, 100])
    (tmp_path / "a.jpg").write_bytes(with_orientation(jpeg.tobytes(), 6))
    labels = read_labels(tmp_path / "a.jpg", PHOTO)
    np.testing.assert_array_equal(labels, labels_of(np.rot90(halves(WIDTH, HEIGHT), -1)))


def test_an_invalid_label_image_is_refused_in_one_line(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "deep.png"), halves().astype(np.uint16) * 257)
    write_photo(tmp_path / "photo.png", PHOTO)
    (tmp_path / "text.png").write_text("no picture")
    for name, error, said in (
        ("deep.png", LabelImageError, "more than eight bits"),
        ("photo.png", LabelImageError, r"\d+ values, but .* at most 16"),
        ("text.png", PhotoError, "cannot be read as a picture"),
        ("missing.png", PhotoError, "cannot be read"),
    ):
        with pytest.raises(error, match=said) as caught:
            read_labels(tmp_path / name, PHOTO)
        assert "\n" not in str(caught.value)


def test_sixteen_labels_are_read_and_seventeen_are_not(tmp_path: Path) -> None:
    stripes = np.arange(WIDTH)[None].repeat(HEIGHT, 0)
    cv2.imwrite(str(tmp_path / "16.png"), (stripes % 16).astype(np.uint8))
    cv2.imwrite(str(tmp_path / "17.png"), (stripes % 17).astype(np.uint8))
    assert len(np.unique(read_labels(tmp_path / "16.png", PHOTO))) == 16
    with pytest.raises(LabelImageError, match="17 values"):
        read_labels(tmp_path / "17.png", PHOTO)


@pytest.mark.parametrize("swapped", [False, True])
def test_a_label_takes_the_colors_of_the_same_label(swapped: bool) -> None:
    labels = 255 - halves() if swapped else halves()
    made = stylized(labels, halves(90, 100))
    for value, rows in ((SKY, slice(0, 45)), (GROUND, slice(45, 90))):
        expected = two_colors()[rows].mean((0, 1))
        got = made.picture[cv2.erode((labels == value).astype(np.uint8), np.ones((9, 9))).astype(bool)]
        assert abs(got - expected).max() <= 1.5
    assert made.uses == [LabelUse("0", 0.5, 0.5, True), LabelUse("255", 0.5, 0.5, True)]
    assert (made.sent, made.received) == (2000, 20)


def test_each_request_shows_one_label_alone() -> None:
    stylizer = MeanStylizer()
    stylized(halves(), halves(90, 100), stylizer)
    style = two_colors()
    pairs = [(PHOTO[HEIGHT // 2 :], style[45:]), (PHOTO[: HEIGHT // 2], style[:45])]
    for frame, seen, (content, own) in zip(stylizer.frames, stylizer.styles, pairs, strict=True):
        for whole, part in ((frame, content), (seen, own)):
            assert set(map(tuple, whole.reshape(-1, 3))) == set(map(tuple, part.reshape(-1, 3)))


def test_a_label_that_the_style_lacks_takes_the_whole_style() -> None:
    labels = halves()
    labels[:, WIDTH // 2 :] = 7
    stylizer = MeanStylizer()
    made = stylized(labels, halves(90, 100), stylizer)
    inner = made.picture[:, WIDTH // 2 + 5 :]
    assert abs(inner - two_colors().mean((0, 1))).max() <= 1.5
    assert made.uses[1] == LabelUse("7", 0.5, 0.0, False)
    assert [use.own_style for use in made.uses] == [True, False, True]
    assert made.sent == 3000
    np.testing.assert_array_equal(stylizer.frames[-1], PHOTO)
    np.testing.assert_array_equal(stylizer.styles[-1], two_colors())


@pytest.mark.parametrize("small_in", [0, 1])
def test_too_small_a_label_takes_the_whole_style(small_in: int) -> None:
    pair = halves(), halves(90, 100)
    for number, picture in enumerate(pair):
        # 81 pixels are less than half a percent of this photo, 49 more of that style, but fewer than 64.
        side = (9, 7)[number] if number == small_in else 30
        picture[:side, :side] = 9
    (nine,) = (use for use in stylized(*pair).uses if use.label == "9")
    assert not nine.own_style
    assert 0 < (nine.share, nine.style_share)[small_in] < 0.006 < (nine.style_share, nine.share)[small_in]


def test_without_a_common_label_one_request_uses_the_whole_style() -> None:
    stylizer = MeanStylizer()
    made = stylized(halves(), np.full((90, 100), 3, np.uint8), stylizer)
    assert len(stylizer.frames) == 1
    assert not any(use.own_style for use in made.uses)
    assert abs(made.picture - two_colors().mean((0, 1))).max() <= 1


def test_sixteen_labels_and_progress() -> None:
    labels = (np.arange(WIDTH) // 10)[None].repeat(HEIGHT, 0).astype(np.int32)
    reported: list[tuple[int, int | None]] = []
    made = stylize_labels(
        PHOTO,
        PHOTO,
        labels,
        labels,
        stylizer=MeanStylizer(),
        map_pixels=1 << 20,
        watch=Stopwatch(),
        progress=lambda done, total: reported.append((done, total)),
    )
    assert reported == [(number, 16) for number in range(1, 17)]
    assert [use.label for use in made.uses][:2] == ["0", "#000001"]
    for value in range(16):
        inner = np.s_[:, 10 * value + 4 : 10 * value + 6]
        expected = PHOTO[:, 10 * value : 10 * value + 10].mean((0, 1))
        assert abs(made.picture[inner] - expected).max() <= 2
