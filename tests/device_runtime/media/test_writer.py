from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from device_runtime.media.atomic_file import OutputError
from device_runtime.media.encoding import Encoding
from device_runtime.media.reader import VideoReader
from device_runtime.media.video_info import VideoError
from device_runtime.media.writer import VideoWriter
from tests.device_runtime.clips import write_clip


@pytest.fixture
def small_files() -> Iterator[None]:
    """Make the operating system reject writes beyond 100 kB per file, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def copy_video(source: Path, target: Path, count: int | None = None, crf: int = 18) -> None:
    with (
        VideoReader(source) as reader,
        VideoWriter(target, reader.info, encoding=Encoding(crf=crf)) as writer,
    ):
        for frame in reader:
            if frame.index == count:
                break
            writer.write(frame.rgb, frame.pts, frame.duration)


def shown(path: Path) -> list[Fraction]:
    """When each frame is shown, in seconds, read with plain PyAV."""
    with av.open(str(path)) as container:
        base = container.streams.video[0].time_base
        assert base is not None
        return [(frame.pts or 0) * base for frame in container.decode(video=0)]


def sound_of(path: Path) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as container:
        return [
            ((packet.pts or 0) * packet.time_base, bytes(packet))
            for packet in container.demux(audio=0)
            if packet.size
        ]


def duration_of(path: Path) -> Fraction:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.duration is not None
        assert stream.time_base is not None
        return stream.duration * stream.time_base


def test_frames_times_and_duration_stay(bikes: Path, tmp_path: Path) -> None:
    copy_video(bikes, tmp_path / "out.mp4")
    assert shown(tmp_path / "out.mp4") == shown(bikes)
    assert duration_of(tmp_path / "out.mp4") == duration_of(bikes)
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height, stream.average_rate) == (640, 272, 25)
    content = (tmp_path / "out.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat"), "starts to play before it is loaded"


def test_the_picture_is_hardly_changed(bikes: Path, tmp_path: Path) -> None:
    copy_video(bikes, tmp_path / "out.mp4", 5, crf=1)
    with VideoReader(bikes) as before, VideoReader(tmp_path / "out.mp4") as after:
        for old, new in zip(before, after, strict=False):
            difference = new.rgb.astype(float) - old.rgb
            assert np.abs(difference).mean() < 1.5
            assert abs(difference.mean()) < 0.3


def test_sound_is_copied_bit_for_bit(bunny: Path, tmp_path: Path) -> None:
    copy_video(bunny, tmp_path / "out.mp4")
    assert sound_of(tmp_path / "out.mp4") == sound_of(bunny)
    assert shown(tmp_path / "out.mp4") == shown(bunny)


@pytest.mark.parametrize("codec", ["aac", "libmp3lame"])
def test_sound_with_an_encoder_delay_stays_in_step(tmp_path: Path, codec: str) -> None:
    clip = write_clip(tmp_path / "tone.mp4", range(30), sound=codec)
    copy_video(clip, tmp_path / "out.mp4")
    assert sound_of(tmp_path / "out.mp4") == sound_of(clip)


def waveform(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("flt", "mono", 44100)
        parts = [p.to_ndarray() for f in container.decode(audio=0) for p in resampler.resample(f)]
    return np.concatenate(parts, axis=1)[0]


def test_sound_that_an_mp4_cannot_hold_becomes_aac(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "tone.avi", range(30), sound="pcm_s16le")
    copy_video(clip, tmp_path / "out.mp4")
    before, after = waveform(clip), waveform(tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
    assert np.corrcoef(before[4096:40000], after[4096:40000])[0, 1] > 0.99


def test_variable_rate_keeps_every_time_and_the_last_duration(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "vfr.mp4", [0, 33, 50, 100, 111, 180, 181, 260], time_base=Fraction(1, 1000))
    copy_video(clip, tmp_path / "out.mp4")
    assert shown(tmp_path / "out.mp4") == shown(clip)
    assert duration_of(tmp_path / "out.mp4") == duration_of(clip)


def test_rotated_footage_is_written_upright(tmp_path: Path) -> None:
    copy_video(write_clip(tmp_path / "turned.mp4", rotation=90), tmp_path / "out.mp4")
    with VideoReader(tmp_path / "out.mp4") as reader:
        assert (reader.info.width, reader.info.height, reader.info.rotation) == (48, 64, 0)


def test_odd_sizes_stay_odd(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "odd.mp4", size=(63, 47), pixel_format="yuv444p")
    copy_video(clip, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.pix_fmt) == (63, 47, "yuv444p")


@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (1, 2, 1, 1), (6, 1, 6, 6), (9, 1, 9, 14)])
def test_color_tags_are_kept(tmp_path: Path, tags: tuple[int, ...]) -> None:
    clip = write_clip(tmp_path / "tagged.mp4", tags=tags)
    copy_video(clip, tmp_path / "out.mp4")
    for path in (clip, tmp_path / "out.mp4"):
        with av.open(str(path)) as container:
            context = container.streams.video[0].codec_context
            found = (context.colorspace, context.color_range, context.color_primaries, context.color_trc)
            assert found == tags


def test_a_broadcast_clock_starts_at_zero(tmp_path: Path) -> None:
    clip = write_clip(
        tmp_path / "late.ts", range(90_000, 90_000 + 12), time_base=Fraction(1, 25), sound="aac"
    )
    copy_video(clip, tmp_path / "out.mp4")
    assert shown(clip)[0] > 3000
    assert 0 <= shown(tmp_path / "out.mp4")[0] < Fraction(1, 10)
    assert len(shown(tmp_path / "out.mp4")) == 12


@pytest.mark.parametrize("suffix", [".mov", ".mkv", ".m4v"])
def test_other_containers(bunny: Path, tmp_path: Path, suffix: str) -> None:
    copy_video(bunny, tmp_path / f"out{suffix}", 10)
    assert len(shown(tmp_path / f"out{suffix}")) == 10
    assert [data for _, data in sound_of(tmp_path / f"out{suffix}")] == [data for _, data in sound_of(bunny)]


@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_run_leaves_nothing(bunny: Path, tmp_path: Path, stop: type[BaseException]) -> None:
    (tmp_path / "out.mp4").write_text("earlier result")

    def write() -> None:
        with VideoReader(bunny) as reader, VideoWriter(tmp_path / "out.mp4", reader.info) as writer:
            for frame in reader:
                writer.write(frame.rgb, frame.pts, frame.duration)
                if frame.index == 3:
                    raise stop

    with pytest.raises(stop):
        write()
    assert os.listdir(tmp_path) == ["out.mp4"]
    assert (tmp_path / "out.mp4").read_text() == "earlier result"


def test_bad_outputs_are_refused(bikes: Path, tmp_path: Path) -> None:
    with VideoReader(bikes) as reader:
        with pytest.raises(VideoError, match="does not have a video suffix"):
            VideoWriter(tmp_path / "out.txt", reader.info)
        with pytest.raises(OutputError, match="also an input"):
            VideoWriter(bikes, reader.info)
        with pytest.raises(OutputError, match="no folder"):
            VideoWriter(tmp_path / "missing" / "out.mp4", reader.info)


def test_a_full_disk_is_reported_in_one_line(bikes: Path, tmp_path: Path, small_files: None) -> None:
    with pytest.raises(VideoError, match=r"out.mp4 cannot be written \(File too large\)"):
        copy_video(bikes, tmp_path / "out.mp4")
    assert os.listdir(tmp_path) == []


def test_a_frame_of_another_size_is_an_error(bikes: Path, tmp_path: Path) -> None:
    with (
        VideoReader(bikes) as reader,
        pytest.raises(ValueError, match="640×272"),
        VideoWriter(tmp_path / "out.mp4", reader.info) as writer,
    ):
        writer.write(np.zeros((10, 10, 3), np.uint8), 0)
