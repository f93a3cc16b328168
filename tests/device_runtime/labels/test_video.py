"""Videos stylized label by label: what each label takes, and where it is after it has moved."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from device_runtime.labels.masks import LabelImageError, MaskFiles
from device_runtime.labels.shot_masks import ShotMasks
from device_runtime.labels.video import stylize_labeled_video
from device_runtime.media.photo import write_photo
from device_runtime.options import StylizeOptions
from device_runtime.stylizers.skin import skin_mask
from mvstylizer.bundle import Bundle, default_bundle, load_bundle
from mvstylizer.stylizer import Reply, StylizedFrame
from tests.device_runtime.clips import write_clip
from tests.device_runtime.hdr_reference import TRANSFERS, scene_light, write_hdr

SIZE = (192, 128)
FRAMES = 20
SCENE = cv2.resize(data.astronaut(), (400, 300))
Files = tuple[Path, Path, MaskFiles]


class Painter:
    """A stylizer whose map paints everything in the mean color of the style."""

    def encode_style(self, style: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.array([-1, *(style.reshape(-1, 3).mean(0) / 255)], np.float32)

    def stylize(
        self,
        frame: NDArray[np.uint8],
        style_code: NDArray[np.float32],
        *,
        r: float = 1.0,
        reply: Reply = "image",
    ) -> StylizedFrame:
        color = np.zeros((3, 4), np.float32)
        color[:, 3] = style_code[1:]
        return StylizedFrame(None, np.broadcast_to(color, (4, 6, 2, 3, 4)).astype(np.float32), 10, 20)

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(default_bundle("lite"))


def panning(index: int, width: int, height: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(SCENE[60 : 60 + height, 2 * index : 2 * index + width])


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A clip that pans to the right, a style of red above blue, and label images."""
    clip = write_clip(tmp_path / "clip.mp4", range(FRAMES), size=SIZE, picture=panning)
    style = np.zeros((64, 64, 3), np.uint8)
    style[:32], style[32:] = (200, 40, 40), (40, 40, 200)
    labels = np.zeros((64, 64), np.uint8)
    labels[:32] = 255
    content = np.zeros(SIZE[::-1], np.uint8)
    content[:, 120:] = 255  # the right part is red
    write_photo(tmp_path / "style.png", style)
    cv2.imwrite(str(tmp_path / "style-labels.png"), labels)
    cv2.imwrite(str(tmp_path / "labels.png"), content)
    return clip, tmp_path / "style.png", MaskFiles(tmp_path / "labels.png", tmp_path / "style-labels.png")


def decoded(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as video:
        return [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]


def test_each_label_takes_its_style_and_moves(files: Files, bundle: Bundle, tmp_path: Path) -> None:
    clip, style, masks = files
    out, options = tmp_path / "out.mp4", StylizeOptions("every:10")
    report = stylize_labeled_video(
        clip, style, out, masks, options=options, stylizer=Painter(), bundle=bundle
    )
    assert (report.frames, report.key_frame_indices) == (FRAMES, [0, 10])
    assert {use.label: use.own_style for use in report.labels} == {"0": True, "255": True}
    assert (report.bytes_sent, report.bytes_received) == (60, 120)  # two labels and the rest, twice
    pictures = decoded(out)
    for index in (0, FRAMES - 1):
        is_red = pictures[index][..., 0] > pictures[index][..., 2]
        wanted = np.tile(np.arange(SIZE[0]) >= 120 - 2 * index, (SIZE[1], 1))
        seen = np.arange(SIZE[0]) < SIZE[0] - 2 * index - 8  # not what has come into view
        assert (is_red == wanted)[:, seen].mean() > 0.97, index
    red, blue = pictures[-1][:, 110:130].mean((0, 1)), pictures[-1][:, 10:60].mean((0, 1))
    assert np.abs(red - (200, 40, 40)).max() < 12
    assert np.abs(blue - (40, 40, 200)).max() < 12


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_an_hdr_video_gives_an_sdr_result_with_a_warning(
    files: Files, bundle: Bundle, tmp_path: Path, transfer: int
) -> None:
    _, style, masks = files
    light = [scene_light(panning(index, *SIZE)) for index in range(3)]
    clip = write_hdr(tmp_path / "hdr.mp4", light, transfer)
    out = tmp_path / "out.mp4"
    report = stylize_labeled_video(clip, style, out, masks, stylizer=Painter(), bundle=bundle)
    assert "With label images, an HDR video gives an SDR result" in report.warnings
    with av.open(str(out)) as video:
        frame = next(video.decode(video=0))
    assert (frame.color_trc, frame.color_primaries, frame.colorspace) == (1, 1, 1)
    picture = frame.to_ndarray(format="rgb24", src_colorspace=1)
    assert np.abs(picture[:, 150:180].mean((0, 1)) - (200, 40, 40)).max() < 12
    assert np.abs(picture[:, 10:60].mean((0, 1)) - (40, 40, 200)).max() < 12


def test_skin_is_protected_with_labels_too(files: Files, bundle: Bundle, tmp_path: Path) -> None:
    clip, style, masks = files
    shown = {}
    for protect in ("none", "skin"):
        out, options = tmp_path / f"{protect}.mp4", StylizeOptions(protect=protect)  # type: ignore[arg-type]
        stylize_labeled_video(clip, style, out, masks, options=options, stylizer=Painter(), bundle=bundle)
        shown[protect] = decoded(out)[0].astype(float)
    skin = skin_mask(panning(0, *SIZE).astype(np.float32) / 255) > 0.8
    assert skin.mean() > 0.05
    assert np.abs(shown["skin"] - shown["none"])[skin].mean() > 20


def test_a_shot_without_labels_takes_the_whole_style(files: Files, bundle: Bundle, tmp_path: Path) -> None:
    _, style, masks = files
    other = np.ascontiguousarray(cv2.resize(data.coffee(), SIZE))

    def two_shots(index: int, width: int, height: int) -> NDArray[np.uint8]:
        return panning(index, width, height) if index < 8 else other

    clip = write_clip(tmp_path / "two.mp4", range(14), size=SIZE, picture=two_shots)
    report = stylize_labeled_video(
        clip, style, tmp_path / "out.mp4", masks, stylizer=Painter(), bundle=bundle
    )
    assert report.key_frame_indices[:2] == [0, 8]
    assert "label images for 1 of 2 shots" in report.warnings[0]
    last = decoded(tmp_path / "out.mp4")[-1]
    assert np.abs(last.mean((0, 1)) - (120, 40, 120)).max() < 8
    assert last.std((0, 1)).max() < 3

    folder = tmp_path / "masks"
    folder.mkdir()
    for number in (1, 2, 3):
        (folder / f"{number}.png").write_bytes(masks.content.read_bytes())
    report = stylize_labeled_video(
        clip, style, tmp_path / "b.mp4", MaskFiles(folder, masks.style), stylizer=Painter(), bundle=bundle
    )
    assert "has 3 label images, but there are 2 shots" in report.warnings[0]
    last = decoded(tmp_path / "b.mp4")[-1]
    assert last[:, :100, 2].mean() > 190
    assert last[:, 140:, 0].mean() > 190


def test_missing_label_images_are_named(files: Files, bundle: Bundle, tmp_path: Path) -> None:
    clip, style, masks = files
    (tmp_path / "empty").mkdir()
    for path, said in ((tmp_path / "empty", "has no PNG"), (tmp_path / "none.png", "no label image")):
        with pytest.raises(LabelImageError, match=said):
            ShotMasks(path)
        with pytest.raises(LabelImageError, match=said):
            stylize_labeled_video(
                clip,
                style,
                tmp_path / "out.mp4",
                MaskFiles(path, masks.style),
                stylizer=Painter(),
                bundle=bundle,
            )
    assert not (tmp_path / "out.mp4").exists()
