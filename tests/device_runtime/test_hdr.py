"""HDR clips stay HDR, become SDR on request, and take a style like their SDR twin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from device_runtime.dry_run import plan_video
from device_runtime.live.session import stylize_live
from device_runtime.media.encoding import EncoderError
from device_runtime.media.light_level import LightLevel
from device_runtime.media.photo import write_photo
from device_runtime.media.reader import VideoReader
from device_runtime.media.video_info import VideoError
from device_runtime.options import StylizeOptions
from device_runtime.pipeline import stylize_video
from device_runtime.request_check import check_request
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from mvstylizer.bundle import default_bundle, load_bundle
from tests.device_runtime.clips import write_clip
from tests.device_runtime.dolby_vision import with_dolby_vision
from tests.device_runtime.hdr_reference import (
    HLG,
    MASTERING,
    PQ,
    TRANSFERS,
    delta_e,
    frame_codes,
    scene_light,
    tone_mapped,
    write_hdr,
)

BUNDLE = load_bundle(default_bundle())
PHOTO = cv2.resize(cv2.GaussianBlur(data.chelsea(), (0, 0), 1), (256, 160), interpolation=cv2.INTER_AREA)
FRAMES = [np.roll(PHOTO, 2 * index, 1) for index in range(4)]
TAGS = {PQ: (9, 1, 9, 16), HLG: (9, 1, 9, 18)}


@pytest.fixture
def style(tmp_path: Path) -> Path:
    write_photo(tmp_path / "style.png", data.coffee())
    return tmp_path / "style.png"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """A scene with highlights in PQ and HLG, with light levels."""
    folder = tmp_path_factory.mktemp("hdr")
    lights = [scene_light(frame) for frame in FRAMES]
    return {each: write_hdr(folder / f"{each}.mp4", lights, each, light_level=True) for each in TRANSFERS}


class Lasting(OnnxStylizer):
    """Stays open between runs."""

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def lite() -> Lasting:
    return Lasting(BUNDLE)


def run(source: Path, style: Path, out: Path, lite: Lasting, **chosen: Any) -> list[av.VideoFrame]:
    options = StylizeOptions(**{"policy": "every:3", "crf": 2, **chosen})
    report = stylize_video(source, style, out, options=options, stylizer=lite, bundle=BUNDLE)
    assert report.warnings == []
    return frames(out)


def frames(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def described(path: Path) -> tuple[str, str | None, str | None, tuple[int, ...]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        tags = context.colorspace, context.color_range, context.color_primaries, context.color_trc
        return context.name, stream.profile, stream.pix_fmt, tags


def luma(frame: av.VideoFrame) -> NDArray[np.float64]:
    return frame.to_ndarray()[: frame.height].astype(float)


def rgb(frame: av.VideoFrame) -> NDArray[np.float64]:
    shown = frame.reformat(format="rgb24", src_colorspace=1, src_color_range=1)
    return shown.to_ndarray() / 255


@pytest.mark.parametrize("transfer", TRANSFERS)
@pytest.mark.parametrize("interpolation", ["transfer", "warp"])
def test_hdr_stays_hdr(
    clips: dict[int, Path], style: Path, tmp_path: Path, lite: Lasting, transfer: int, interpolation: str
) -> None:
    out = tmp_path / "out.mp4"
    made = run(clips[transfer], style, out, lite, strength=0.0, interpolation=interpolation)
    assert described(out) == ("hevc", "Main 10", "yuv420p10le", TAGS[transfer])
    error = np.mean([(luma(x) - luma(y)) ** 2 for x, y in zip(frames(clips[transfer]), made, strict=True)])
    assert 10 * np.log10(1023**2 / error) > 45
    before, after = frames(clips[transfer])[0].side_data, made[0].side_data
    for name in ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"):
        assert bytes(after[name]) == bytes(before[name])  # type: ignore[arg-type]


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_sdr_on_request(
    clips: dict[int, Path], style: Path, tmp_path: Path, lite: Lasting, transfer: int
) -> None:
    out = tmp_path / "out.mp4"
    made = run(clips[transfer], style, out, lite, strength=0.0, sdr=True)
    assert described(out) == ("h264", "High", "yuv420p", (1, 1, 1, 1))
    for given, frame in zip(frames(clips[transfer]), made, strict=True):
        assert delta_e(rgb(frame), tone_mapped(frame_codes(given), transfer)).mean() < 2
    assert "CONTENT_LIGHT_LEVEL" not in made[0].side_data


@pytest.mark.parametrize("interpolation", ["transfer", "warp"])
def test_a_style_looks_the_same_on_hdr_and_sdr(
    style: Path, tmp_path: Path, lite: Lasting, interpolation: str
) -> None:
    """Tone-mapped by the reference, next to the same scene filmed in SDR."""
    dim = [(frame * 0.9).astype(np.uint8) for frame in FRAMES[:2]]

    def film(index: int, width: int, height: int) -> NDArray[np.uint8]:
        return dim[index]

    sdr = write_clip(
        tmp_path / "sdr.mkv", range(2), size=(256, 160), picture=film, codec="ffv1", pixel_format="yuv444p"
    )
    twin = [
        rgb_of_unspecified(each)
        for each in run(sdr, style, tmp_path / "a.mkv", lite, interpolation=interpolation)
    ]
    for transfer in TRANSFERS:
        source = write_hdr(tmp_path / "hdr.mp4", [(each / 255.0) ** 2.4 for each in dim], transfer)
        made = run(source, style, tmp_path / "b.mkv", lite, interpolation=interpolation)
        for one, other in zip(made, twin, strict=True):
            assert delta_e(tone_mapped(frame_codes(one), transfer), other).mean() < 4
    assert delta_e(twin[0], dim[0] / 255).mean() > 5  # the style is not a small one


def rgb_of_unspecified(frame: av.VideoFrame) -> NDArray[np.float64]:
    """Small pictures without tags are BT.601."""
    return frame.to_ndarray(format="rgb24") / 255


def test_eight_bits_cannot_hold_hdr(clips: dict[int, Path], style: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    with pytest.raises(EncoderError, match=r"libx264 with 8 bits cannot hold HDR \(PQ\)"):
        check_request(clips[PQ], style, out, options=StylizeOptions(codec="h264"), bundle=BUNDLE)
    check_request(clips[PQ], style, out, options=StylizeOptions(codec="h264", sdr=True), bundle=BUNDLE)
    assert not out.exists()


def test_a_plan_of_hdr_has_its_key_frames(clips: dict[int, Path], style: Path, lite: Lasting) -> None:
    options = StylizeOptions("every:2", sdr=True)
    plan = plan_video(clips[HLG], style, options=options, stylizer=lite, bundle=BUNDLE)
    assert plan.key_frame_indices == [0, 2]


@pytest.mark.parametrize(("transfer", "base"), [(HLG, "HLG"), (PQ, "PQ")])
def test_dolby_vision_is_read_by_its_base_layer(
    style: Path, tmp_path: Path, lite: Lasting, transfer: int, base: str
) -> None:
    plain = write_hdr(tmp_path / "plain.hevc", [scene_light(PHOTO)] * 2, transfer)
    source, out = with_dolby_vision(plain, tmp_path / "dolby.hevc"), tmp_path / "out.mp4"
    assert "DOVI_RPU_BUFFER" in frames(source)[0].side_data
    options = StylizeOptions(crf=2, strength=0.0)
    report = stylize_video(source, style, out, options=options, stylizer=lite, bundle=BUNDLE)
    assert f"dolby.hevc is Dolby Vision: only its {base} base layer is used" in report.warnings
    assert described(out) == ("hevc", "Main 10", "yuv420p10le", TAGS[transfer])
    assert np.abs(luma(frames(out)[0]) - luma(frames(plain)[0])).mean() < 3
    assert not any(name in frames(out)[0].side_data for name in ("DOVI_METADATA", "DOVI_RPU_BUFFER"))


def test_dolby_vision_without_a_base_layer_is_refused(tmp_path: Path) -> None:
    plain = write_hdr(tmp_path / "plain.hevc", [scene_light(PHOTO)], 2)
    with pytest.raises(VideoError, match="has Dolby Vision without an HLG, PQ or SDR base layer"):
        VideoReader(with_dolby_vision(plain, tmp_path / "dolby.hevc"))


@pytest.mark.parametrize("sdr", [False, True])
def test_live_hdr(clips: dict[int, Path], style: Path, tmp_path: Path, lite: Lasting, sdr: bool) -> None:
    out = tmp_path / "out.mkv"
    options = StylizeOptions(sdr=sdr)
    stylize_live(str(clips[HLG]), style, str(out), options=options, stylizer=lite, bundle=BUNDLE)
    expected = ("h264", "yuv420p", 1) if sdr else ("hevc", "yuv420p10le", HLG)
    name, _, pixel_format, tags = described(out)
    assert (name, pixel_format, tags[3]) == expected
    assert frames(out)


def test_light_levels_are_read_as_x265_takes_them(clips: dict[int, Path]) -> None:
    found = LightLevel.of(frames(clips[PQ])[0])
    assert found == LightLevel(MASTERING, "1000,400")
    assert LightLevel.of(av.VideoFrame(16, 16, "yuv420p")).parameters == []
