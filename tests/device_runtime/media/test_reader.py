from __future__ import annotations

import itertools
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from device_runtime.media.planes import Planes
from device_runtime.media.reader import VideoReader
from device_runtime.media.video_info import VideoError, check_colors
from tests.device_runtime.clips import remux, write_clip


def test_real_footage_comes_frame_by_frame(bikes: Path) -> None:
    with VideoReader(bikes) as reader:
        info = reader.info
        frames = [(f.index, f.pts, f.duration, f.codec_key, f.rgb.shape, f.rgb.dtype) for f in reader]
    assert (info.width, info.height, info.rate, info.duration) == (640, 272, 25, 10)
    assert (info.frame_count, info.rotation, info.has_audio) == (250, 0, False)
    assert [f[0] for f in frames] == list(range(250))
    assert [f[1] * info.time_base for f in frames] == [Fraction(i, 25) for i in range(250)]
    assert [f[0] for f in frames if f[3]] == [0, 30, 76, 137, 187, 242]
    assert {f[4:] for f in frames} == {((272, 640, 3), np.dtype(np.uint8))}
    assert reader.warnings == []


def test_memory_holds_a_few_frames_not_the_video(bikes: Path) -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        with VideoReader(bikes) as reader:
            for frame in reader:
                if frame.index == count:
                    break
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(100) < peak(10) * 1.05


def test_variable_times_are_kept(tmp_path: Path) -> None:
    times = [0, 33, 50, 100, 111, 180, 181, 260]
    with VideoReader(write_clip(tmp_path / "vfr.mp4", times, time_base=Fraction(1, 1000))) as reader:
        frames = [(frame.pts * frame.time_base, frame.duration * frame.time_base) for frame in reader]
        assert reader.info.duration == Fraction(270, 1000)
    expected = [(start, end - start) for start, end in itertools.pairwise([*times, 270])]
    assert frames == [(Fraction(start, 1000), Fraction(length, 1000)) for start, length in expected]


@pytest.mark.parametrize(("counterclockwise", "clockwise"), [(0, 0), (90, 270), (180, 180), (270, 90)])
def test_rotated_footage_comes_upright(tmp_path: Path, counterclockwise: int, clockwise: int) -> None:
    path = write_clip(tmp_path / "turned.mp4", rotation=counterclockwise)
    with VideoReader(path) as reader:
        info = reader.info
        upright = next(iter(reader)).rgb
    with av.open(str(path)) as container:
        stored = next(container.decode(video=0)).to_ndarray(format="rgb24")
    expected = np.rot90(stored, counterclockwise // 90)
    assert info.rotation == clockwise
    assert upright.shape == (info.height, info.width, 3) == expected.shape
    assert np.abs(upright.astype(int) - expected).mean() < 3


def test_a_truncated_file_is_read_to_its_end_with_a_warning(bikes: Path, tmp_path: Path) -> None:
    whole, half = remux(bikes, tmp_path / "whole.mp4"), tmp_path / "half.mp4"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with VideoReader(half) as reader:
        indices = [frame.index for frame in reader]
    assert indices == list(range(116))
    assert any("is truncated: 4.68 s of 10.00 s" in warning for warning in reader.warnings)


def test_frames_without_times_get_increasing_ones(bikes: Path, tmp_path: Path) -> None:
    raw = remux(bikes, tmp_path / "raw.h264", until=1.0)
    with VideoReader(raw) as reader:
        times = [frame.pts * frame.time_base for frame in reader]
    assert len(times) >= 20
    assert np.allclose(np.diff([float(t) for t in times]), 1 / 25, atol=1e-6)
    assert any("missing frame times were replaced" in warning for warning in reader.warnings)


@pytest.mark.parametrize(("pixel_format", "warned"), [("yuv420p10le", False), ("yuv444p12le", True)])
def test_more_than_ten_bits_are_read_with_a_warning(tmp_path: Path, pixel_format: str, warned: bool) -> None:
    clip = write_clip(tmp_path / "deep.mkv", pixel_format=pixel_format, codec="ffv1")
    with VideoReader(clip) as reader:
        picture = next(iter(reader)).picture
        assert isinstance(picture, Planes)
        assert (picture.bits, reader.info.bits) == (10, 10)
    said = ["deep.mkv has 12 bits per channel, the result has 10"]
    assert reader.warnings == (said if warned else [])


def test_an_invalid_video_is_refused_in_one_line(tmp_path: Path) -> None:
    text, empty, tone = tmp_path / "text.mp4", tmp_path / "empty.mp4", tmp_path / "tone.mp4"
    text.write_text("not a video")
    empty.touch()
    with av.open(str(tone), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 44100
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))
    headless = tmp_path / "headless.mp4"
    headless.write_bytes(write_clip(tmp_path / "long.mp4").read_bytes()[:200])
    for path, reason in (
        (tmp_path / "missing.mp4", "no file"),
        (text, "cannot be read as a video"),
        (empty, "cannot be read as a video"),
        (headless, "cannot be read as a video"),
        (tmp_path, "cannot be read as a video"),
        (tone, "no video stream"),
    ):
        with pytest.raises(VideoError, match=reason) as caught:
            VideoReader(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_video_without_frames_is_refused(bikes: Path, tmp_path: Path) -> None:
    clip = remux(bikes, tmp_path / "front.mp4")
    content = clip.read_bytes()
    clip.write_bytes(content[: content.index(b"mdat") + 4])
    with pytest.raises(VideoError, match="no frames"):
        VideoReader(clip)


@pytest.mark.parametrize(
    ("tags", "named"),
    [
        ((14, 1, 9, 16), "the color matrix ICtCp"),
        ((8, 1, 1, 1), "the color matrix YCgCo"),
        ((1, 1, 1, 8), "the transfer linear"),
        ((9, 1, 12, 16), "PQ with the primaries Display P3"),
    ],
)
def test_colors_that_are_not_known_are_named(tmp_path: Path, tags: tuple[int, ...], named: str) -> None:
    clip = write_clip(tmp_path / "odd.mp4", range(2), tags=tags)
    with pytest.raises(VideoError, match=rf"odd.mp4 has {named}, which is not supported"):
        VideoReader(clip)


def test_a_pixel_format_that_swscale_does_not_read_is_named() -> None:
    with pytest.raises(VideoError, match="clip has the pixel format y210be, which is not supported"):
        check_colors("clip", av.VideoFrame(16, 16, "y210be"))
    for name in ("nv12", "yuv444p12le", "gbrp", "bayer_rggb8", "gray", "pal8"):
        check_colors("clip", av.VideoFrame(16, 16, name))
