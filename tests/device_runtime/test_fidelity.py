from __future__ import annotations

import itertools
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from device_runtime.media.photo import write_photo
from device_runtime.media.reader import VideoReader
from device_runtime.media.video_info import VideoError
from device_runtime.options import Interpolation, StylizeOptions
from device_runtime.pipeline import stylize_video
from device_runtime.report import Report
from mvstylizer.bundle import default_bundle, load_bundle
from mvstylizer.stylizer import Reply, StylizedFrame
from tests.device_runtime.clips import moving_square, remux, write_clip

BUNDLE = load_bundle(default_bundle())


class PlainStylizer:
    """Returns every frame unchanged, so that any difference comes from the pipeline."""

    def encode_style(self, style: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.zeros(4, np.float32)

    def stylize(
        self,
        frame: NDArray[np.uint8],
        style_code: NDArray[np.float32],
        *,
        r: float = 1.0,
        reply: Reply = "image",
    ) -> StylizedFrame:
        identity = np.broadcast_to(np.eye(3, 4, dtype=np.float32), (9, 16, 4, 3, 4)).copy()
        return StylizedFrame(frame, None) if reply == "image" else StylizedFrame(None, identity)

    def close(self) -> None:
        pass


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "out.mp4"


@pytest.fixture
def style(tmp_path: Path) -> Path:
    write_photo(tmp_path / "style.png", data.coffee())
    return tmp_path / "style.png"


def run(source: Path, style: Path, out: Path, resume: bool = False, **chosen: Any) -> Report:
    options = StylizeOptions(**{"policy": "every:6", "crf": 8, **chosen})
    return stylize_video(
        source, style, out, options=options, stylizer=PlainStylizer(), bundle=BUNDLE, resume=resume
    )


def times(path: Path) -> list[Fraction]:
    with VideoReader(path) as reader:
        return [frame.pts * frame.time_base for frame in reader]


def pictures(path: Path) -> list[NDArray[np.uint8]]:
    with VideoReader(path) as reader:
        return [frame.rgb for frame in reader]


def mean_difference(a: Path, b: Path) -> float:
    pairs = zip(pictures(a), pictures(b), strict=True)
    return float(np.mean([np.abs(x.astype(int) - y).mean() for x, y in pairs]))


def smooth(index: int, width: int, height: int) -> NDArray[np.uint8]:
    """Slow gradients, which chroma subsampling and compression barely change."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    ramp = (
        40 + 150 * x / width,
        60 + 120 * y / height,
        200 - 100 * (x + y + 4 * index) / (width + height + 60),
    )
    return np.stack(ramp, -1).astype(np.uint8)


def write_hevc(path: Path, size: tuple[int, int], pixel_format: str, count: int = 14) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265", rate=30, options={"x265-params": "log-level=error"})
        stream.width, stream.height = size
        stream.pix_fmt = pixel_format
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(smooth(index, *size), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le"])
def test_hevc_of_eight_and_ten_bits(style: Path, out: Path, pixel_format: str) -> None:
    source = write_hevc(style.with_name("phone.mp4"), (192, 128), pixel_format)
    with av.open(str(source)) as container:
        assert container.streams.video[0].codec_context.name == "hevc"
        assert container.streams.video[0].pix_fmt == pixel_format
    report = run(source, style, out)
    assert times(out) == times(source)
    assert mean_difference(source, out) < 1.5
    assert not report.warnings
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        assert stream.pix_fmt == pixel_format
        deep = pixel_format.endswith("10le")
        assert (stream.codec_context.name, stream.profile) == (
            ("hevc", "Main 10") if deep else ("h264", "High")
        )


def test_h264_of_ten_bits_has_eight_and_says_so(style: Path, out: Path) -> None:
    source = write_hevc(style.with_name("phone.mp4"), (192, 128), "yuv420p10le")
    report = run(source, style, out, codec="h264")
    assert report.warnings == ["phone.mp4 has 10 bits per channel, the result has 8"]
    assert mean_difference(source, out) < 1.5


@pytest.mark.parametrize(
    "tags",
    [
        pytest.param((1, 1, 1, 1), id="bt709-limited"),
        pytest.param((1, 2, 1, 1), id="bt709-full"),
        pytest.param((6, 1, 6, 6), id="bt601-limited"),
        pytest.param((6, 2, 6, 6), id="bt601-full"),
    ],
)
@pytest.mark.parametrize("size", [(192, 108), (1280, 720)])
def test_colors_neither_shift_nor_lose_their_tags(
    style: Path, out: Path, tags: tuple[int, ...], size: tuple[int, int]
) -> None:
    source = write_clip(style.with_name("tagged.mp4"), range(3), size=size, tags=tags, picture=smooth)
    run(source, style, out)
    with av.open(str(out)) as container:
        context = container.streams.video[0].codec_context
        found = context.colorspace, context.color_range, context.color_primaries, context.color_trc
    assert found == tags
    before, after = pictures(source), pictures(out)
    drift = np.mean([y.astype(float) - x for x, y in zip(before, after, strict=True)], (0, 1, 2))
    assert np.abs(drift).max() < 0.6


@pytest.mark.parametrize("rotation", [None, 90])
@pytest.mark.parametrize("interpolation", ["warp", "transfer"])
def test_portrait(style: Path, out: Path, interpolation: Interpolation, rotation: float | None) -> None:
    size = (90, 160) if rotation is None else (160, 90)
    source = write_clip(style.with_name("portrait.mp4"), range(9), size=size, rotation=rotation)
    report = run(source, style, out, interpolation=interpolation)
    assert (report.width, report.height) == (90, 160)
    assert times(out) == times(source)
    assert mean_difference(source, out) < 4


@pytest.mark.parametrize("interpolation", ["warp", "transfer"])
@pytest.mark.parametrize("resume", [False, True])
def test_a_video_of_one_frame(style: Path, out: Path, interpolation: Interpolation, resume: bool) -> None:
    source = write_clip(style.with_name("one.mp4"), [0])
    report = run(source, style, out, interpolation=interpolation, resume=resume)
    assert (report.frames, report.key_frames, report.intermediate_frames) == (1, 1, 0)
    assert times(out) == [0]
    assert mean_difference(source, out) < 4


@pytest.mark.parametrize("size", [(2, 2), (7, 5), (1, 36), (36, 1), (63, 47), (16, 576)])
@pytest.mark.parametrize("interpolation", ["warp", "transfer"])
def test_odd_and_tiny_sizes(
    style: Path, out: Path, interpolation: Interpolation, size: tuple[int, int]
) -> None:
    source = write_clip(
        style.with_name("odd.mp4"), range(5), size=size, pixel_format="yuv444p", picture=smooth
    )
    report = run(source, style, out, interpolation=interpolation)
    assert (report.width, report.height) == size
    assert report.frames == len(times(out)) == 5
    if min(size) > 40:
        assert mean_difference(source, out) < 3


@pytest.mark.parametrize("size", [(1, 37), (74, 2)])
def test_frames_too_thin_for_the_network_are_refused(style: Path, out: Path, size: tuple[int, int]) -> None:
    source = write_clip(style.with_name("thin.mp4"), [0], size=size, pixel_format="yuv444p", picture=smooth)
    with pytest.raises(VideoError, match="thinner than 1:36"):
        run(source, style, out)
    assert not out.exists()


def test_missing_timestamps(bikes: Path, style: Path, out: Path) -> None:
    source = remux(bikes, style.with_name("raw.h264"), until=0.8)
    report = run(source, style, out)
    assert report.frames >= 18
    assert np.allclose(np.diff([float(time) for time in times(out)]), 1 / 25, atol=1e-3)
    assert any("missing frame times" in warning for warning in report.warnings)


def test_metadata_is_kept(style: Path, out: Path) -> None:
    source, tagged = write_clip(style.with_name("plain.mp4")), style.with_name("tagged.mp4")
    known = {"title": "Harbour", "comment": "first try", "date": "2024-05-01"}
    with av.open(str(source)) as given, av.open(str(tagged), "w") as copy:
        copy.metadata.update(known)
        stream = copy.add_stream_from_template(given.streams.video[0], opaque=True)
        for packet in given.demux(video=0):
            if packet.size:
                packet.stream = stream
                copy.mux(packet)
    run(tagged, style, out)
    with av.open(str(out)) as container:
        assert {key: container.metadata.get(key) for key in known} == known


@pytest.mark.parametrize("interpolation", ["warp", "transfer"])
@pytest.mark.parametrize("resume", [False, True])
def test_large_frames_are_decoded_twice_with_the_same_result(
    style: Path, out: Path, monkeypatch: pytest.MonkeyPatch, interpolation: Interpolation, resume: bool
) -> None:
    source = write_clip(style.with_name("clip.mp4"), range(20), picture=smooth)
    run(source, style, out, interpolation=interpolation)
    held = pictures(out)
    opened: list[bool] = []
    read = VideoReader.__init__

    def count(*given: Any, **chosen: Any) -> None:
        opened.append(True)
        read(*given, **chosen)

    monkeypatch.setattr(VideoReader, "__init__", count)
    monkeypatch.setattr("device_runtime.pipeline.MAX_HELD_BYTES", 0)
    run(source, style, out, interpolation=interpolation, resume=resume)
    assert len(opened) == 2
    np.testing.assert_array_equal(pictures(out), held)


@pytest.mark.parametrize("interpolation", ["warp", "transfer"])
def test_4k(style: Path, out: Path, interpolation: Interpolation) -> None:
    def scene(index: int, width: int, height: int) -> NDArray[np.uint8]:
        large = cv2.resize(data.astronaut(), (width, height))
        return np.ascontiguousarray(np.roll(large, 8 * index, axis=1))

    source = write_clip(style.with_name("4k.mp4"), range(3), size=(3840, 2160), picture=scene)
    report = run(source, style, out, interpolation=interpolation, crf=18)
    assert (report.width, report.height, report.frames) == (3840, 2160, 3)
    assert mean_difference(source, out) < 6


def test_a_stream_that_changes_its_size_midway_keeps_the_first_one(style: Path, out: Path) -> None:
    parts = [
        write_clip(
            style.with_name(f"{size[0]}.ts"), range(first, first + 6), size=size, picture=moving_square
        )
        for size, first in (((64, 48), 0), ((96, 64), 6))
    ]
    source = style.with_name("changing.ts")
    source.write_bytes(b"".join(part.read_bytes() for part in parts))
    report = run(source, style, out)
    assert (report.width, report.height) == (64, 48)
    assert report.frames == len(times(out)) >= 11
    assert all(a < b for a, b in itertools.pairwise(times(out)))


SRT = """1
00:00:00,040 --> 00:00:00,160
Good <i>morning</i>

2
00:00:00,200 --> 00:00:00,400
Grüße,
zwei Zeilen
"""
Lines = list[tuple[Fraction, Fraction, str]]


def with_subtitles(target: Path) -> Path:
    """A clip with sound and subtitles, with a language tag for the picture and one for the text."""
    clip, text = write_clip(target.with_name("tone.mp4"), sound="aac"), target.with_suffix(".srt")
    text.write_text(SRT)
    with av.open(str(clip)) as video, av.open(str(text)) as lines, av.open(str(target), "w") as both:
        streams = [*video.streams.video, *video.streams.audio, *lines.streams.subtitles]
        copies = [both.add_stream_from_template(stream, opaque=True) for stream in streams]
        copies[0].metadata["language"], copies[2].metadata["language"] = "fra", "ita"
        for container in (video, lines):
            for packet in container.demux():
                if packet.size:
                    packet.stream = copies[streams.index(packet.stream)]
                    both.mux(packet)
    return target


def subtitles(path: Path) -> tuple[str | None, Lines]:
    """Language, and start, duration and text of each line."""
    found: Lines = []
    with av.open(str(path)) as container:
        (stream,) = container.streams.subtitles
        for packet in container.demux(stream):
            for line in packet.decode() if packet.size else []:
                text = re.sub(r"{.*?}", "", line.dialogue.decode()).strip()  # type: ignore[union-attr]
                if text:
                    start = (packet.pts or 0) * packet.time_base
                    found.append((start, (packet.duration or 0) * packet.time_base, text))
        return stream.language, found


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_subtitles_keep_words_times_and_language(style: Path, out: Path, suffix: str, resume: bool) -> None:
    source = with_subtitles(style.with_name("talk.mkv"))
    report = run(source, style, out.with_suffix(suffix), resume=resume)
    language, lines = subtitles(out.with_suffix(suffix))
    assert language == "ita"
    assert lines == subtitles(source)[1]
    assert [text for _, _, text in lines] == ["Good morning", "Grüße,\nzwei Zeilen"]
    assert report.warnings == []
    with av.open(str(out.with_suffix(suffix))) as container:
        assert container.streams.video[0].language == "fra"
        assert len(container.streams.audio) == 1


def test_subtitles_of_an_mp4_are_copied_bit_for_bit_and_become_text_in_a_matroska(
    style: Path, out: Path
) -> None:
    source = style.with_name("talk.mp4")
    run(with_subtitles(style.with_name("talk.mkv")), style, source)
    run(source, style, out)
    run(source, style, out.with_suffix(".mkv"))
    packets = []
    for path in (source, out):
        with av.open(str(path)) as container:
            packets.append([bytes(packet) for packet in container.demux(subtitles=0) if packet.size])
    assert packets[0] == packets[1]
    assert subtitles(out.with_suffix(".mkv")) == subtitles(source)


def test_bitmap_subtitles_are_omitted_from_an_mp4_with_a_warning(style: Path, out: Path) -> None:
    source = style.with_name("disc.mkv")
    clip = write_clip(style.with_name("plain.mp4"))
    with av.open(str(clip)) as video, av.open(str(source), "w") as both:
        copy = both.add_stream_from_template(video.streams.video[0], opaque=True)
        both.add_mux_stream("dvd_subtitle")
        for packet in video.demux(video=0):
            if packet.size:
                packet.stream = copy
                both.mux(packet)
    report = run(source, style, out)
    assert any("subtitles 1 (dvd_subtitle) omitted: mp4 does not" in warning for warning in report.warnings)
    assert report.frames == 12
