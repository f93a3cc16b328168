"""The contact sheet before a run, against the model's own pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from device_runtime.media.photo import read_photo
from device_runtime.media.video_info import VideoError
from device_runtime.options import StylizeOptions
from device_runtime.preview.contact_sheet import GAP, HEADER
from device_runtime.preview.preview import LARGE_TILE, PreviewReport, write_preview
from device_runtime.preview.stills import one_still, scene_stills
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from mvstylizer.bundle import Bundle, default_bundle, load_bundle
from mvstylizer.stylizer import LOOK, PALETTE, Match, with_match
from tests.conftest import CLIP_FRAMES
from tests.device_runtime.clips import write_clip

PIXELS = 512 * 288


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(default_bundle("lite"))


@pytest.fixture(scope="module")
def stylizer(bundle: Bundle) -> Iterator[OnnxStylizer]:
    with OnnxStylizer(bundle) as opened:
        yield opened


def frame_of(video: Path, number: int) -> NDArray[np.uint8]:
    with av.open(str(video)) as container:
        frames = list(container.decode(video=0))
    return np.asarray(frames[number].to_ndarray(format="rgb24"), np.uint8)


def tile(sheet: NDArray[np.uint8], row: int, column: int, height: int) -> NDArray[np.uint8]:
    top = HEADER + row * (HEADER + height + GAP) + HEADER
    left = column * (LARGE_TILE + GAP) + GAP // 2
    return sheet[top + GAP // 2 : top + GAP // 2 + height - GAP, left : left + LARGE_TILE]


def test_the_sheet_shows_what_the_model_makes(
    street: Path, dusk: Path, bundle: Bundle, stylizer: OnnxStylizer, tmp_path: Path
) -> None:
    out = tmp_path / "sheet.png"
    seen: list[tuple[int, int | None]] = []
    options = StylizeOptions(start="10f", match=0.25)
    report = write_preview(
        street,
        dusk,
        out,
        options=options,
        stylizer=stylizer,
        bundle=bundle,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert report.matches == ["look", "auto", "palette", "0.25"]
    assert report.strengths == [0.5, 0.75, 1.0]
    assert report.frames == [{"frame": 0, "seconds": 0.4, "scene": 0}]
    assert seen == [(done, 4) for done in range(1, 5)]
    sheet, frame, code = read_photo(out), frame_of(street, 10), stylizer.encode_style(read_photo(dusk))
    height = round(LARGE_TILE * 136 / 320)
    assert sheet.shape == (HEADER + 3 * (HEADER + height + GAP), 5 * (LARGE_TILE + GAP), 3)
    matches: list[Match] = [LOOK, "auto", PALETTE, 0.25]
    for column, match in enumerate(matches, 1):
        image = stylizer.stylize(frame, with_match(code, match)).image
        assert image is not None
        for row, strength in enumerate((0.5, 0.75, 1.0)):
            wanted = cv2.addWeighted(frame, 1 - strength, image, strength, 0)
            shown = cv2.resize(wanted, (LARGE_TILE, height), interpolation=cv2.INTER_AREA)
            got = tile(sheet, row, column, height)
            assert np.abs(got.astype(int) - shown[GAP // 2 : GAP // 2 + len(got)]).mean() < 6, (
                match,
                strength,
            )


def test_three_frames_of_each_scene_are_chosen(street: Path) -> None:
    stills, is_cut = scene_stills(street, PIXELS, StylizeOptions().span, 8)
    assert not is_cut
    assert [still.scene for still in stills] == [0, 0, 0, 1, 1, 1]
    assert [still.frame for still in stills[3:]] == [31, 33, 35]  # of 30 to 35
    assert stills[0].frame < 10 <= stills[1].frame < 20 <= stills[2].frame < 30
    for still in stills:
        assert still.seconds == pytest.approx(still.frame / 25, abs=1e-3)
        assert np.abs(still.picture.astype(int) - frame_of(street, still.frame)).mean() < 2
    stills, is_cut = scene_stills(street, PIXELS, StylizeOptions(start="0.2").span, 1)
    assert is_cut
    assert {still.scene for still in stills} == {0}
    assert stills[0].seconds == pytest.approx(0.2 + stills[0].frame / 25, abs=1e-3)


def test_without_a_start_the_middle_is_shown(street: Path, tmp_path: Path) -> None:
    assert one_still(street, PIXELS).seconds == pytest.approx(CLIP_FRAMES / 25 / 2, abs=0.05)
    single = write_clip(tmp_path / "single.mp4", [0])
    assert one_still(single, PIXELS).seconds == 0
    with pytest.raises(VideoError, match="ends before"):
        one_still(street, PIXELS, StylizeOptions(start="9").span)


def test_a_photo_has_one_frame(dusk: Path, bundle: Bundle, stylizer: OnnxStylizer, tmp_path: Path) -> None:
    out = tmp_path / "sheet.jpg"
    report = write_preview(dusk, dusk, out, stylizer=stylizer, bundle=bundle, scenes=True)
    assert isinstance(report, PreviewReport)
    assert report.as_dict()["frames"] == [{"frame": 0, "seconds": 0.0, "scene": 0}]
    assert out.exists()
