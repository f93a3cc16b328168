"""Parts of videos, against FFmpeg's own decoding of the whole file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from device_runtime.media import excerpt
from device_runtime.media.excerpt import ExcerptReader, Moment, Span, SpanError
from device_runtime.media.reader import VideoReader
from device_runtime.media.video_info import VideoError
from device_runtime.media.writer import VideoWriter
from tests.device_runtime.clips import write_clip
from tests.device_runtime.media.test_frames import combing, interlaced


def decoded(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as video:
        return [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("12.5", Moment(Fraction(25, 2))),
        ("12.5s", Moment(Fraction(25, 2))),
        (".5", Moment(Fraction(1, 2))),
        ("1:30", Moment(Fraction(90))),
        ("1:02:03.25", Moment(Fraction(14893, 4))),
        ("120f", Moment(frame=120)),
        ("0f", Moment(frame=0)),
    ],
)
def test_moments_are_times_or_frames(text: str, moment: Moment) -> None:
    assert Moment.parse(text) == moment


@pytest.mark.parametrize(
    "ends",
    [
        ("now", None),
        ("-1", None),
        ("1f5", None),
        ("", "0"),
        ("2", "2"),
        ("9f", "8f"),
        ("3", "0:02"),
        ("", "0f"),
    ],
)
def test_parts_that_are_none_are_refused(ends: tuple[str, str]) -> None:
    with pytest.raises(SpanError):
        Span.parse(*ends)


@pytest.mark.parametrize(
    ("ends", "frames"),
    [
        (("0.4", "0.8"), range(10, 20)),
        (("10f", "20f"), range(10, 20)),
        (("0.41", None), range(11, 30)),
        ((None, "5f"), range(5)),
        (("0.4", "12f"), range(10, 12)),
        (("29f", "99"), range(29, 30)),
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.ts", "a.mkv"])
def test_a_part_has_exactly_its_frames(
    name: str, ends: tuple[str | None, str | None], frames: range, tmp_path: Path
) -> None:
    source = write_clip(tmp_path / name, range(30))
    with VideoReader(source) as reader:
        wanted = [frame.rgb for frame in reader][frames.start : frames.stop]
    with ExcerptReader(source, Span.parse(*ends)) as reader:
        part = list(reader)
        info = reader.info
    assert [frame.index for frame in part] == list(range(len(frames)))
    assert all((a.rgb == b).all() for a, b in zip(part, wanted, strict=True))
    assert info.frame_count == len(frames)
    assert info.start == part[0].pts * part[0].time_base


def test_the_last_frame_ends_with_the_part(tmp_path: Path) -> None:
    times = [0, 100, 900, 1000]
    source = write_clip(tmp_path / "vfr.mp4", times, time_base=Fraction(1, 1000))
    with ExcerptReader(source, Span.parse("0.1", "0.5")) as reader:
        (frame,) = reader
    assert frame.duration * frame.time_base == Fraction(2, 5)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_a_jump_changes_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_clip(tmp_path / name, range(400))
    span = Span.parse("13.2", "13.6")
    with ExcerptReader(source, span) as reader:
        jumped = list(reader)
        assert reader.warnings == []
    monkeypatch.setattr(excerpt, "INDEXED", set())
    with ExcerptReader(source, span) as reader:
        read = list(reader)
    assert [frame.pts for frame in jumped] == [frame.pts for frame in read]
    assert all((a.rgb == b.rgb).all() for a, b in zip(jumped, read, strict=True))
    assert len(read) == 10


def test_frames_after_a_jump_are_deinterlaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = interlaced(tmp_path / "fields.mp4", "tff", 400)
    span = Span.parse("13.2", "13.6")
    with ExcerptReader(source, span) as reader:
        jumped = list(reader)
    monkeypatch.setattr(excerpt, "INDEXED", set())
    with ExcerptReader(source, span) as reader:
        read = list(reader)
    assert len(read) == 10
    assert [frame.pts for frame in jumped] == [frame.pts for frame in read]
    for after, through in zip(jumped, read, strict=True):
        np.testing.assert_array_equal(after.rgb, through.rgb)
    assert max(combing(frame.rgb) for frame in jumped) < 2


@pytest.mark.parametrize("ends", [("3", None), ("75f", None), ("100000f", None), ("1.001", "26f")])
def test_a_start_beyond_the_end_is_named(ends: tuple[str, str | None], tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mp4", range(50))
    with pytest.raises(VideoError) as refused:
        ExcerptReader(source, Span.parse(*ends))
    assert "a.mp4 ends before" in str(refused.value) or "has no frame from" in str(refused.value)


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_sound_is_cut_to_the_part(name: str, tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mp4", range(100), sound="aac")
    with (
        ExcerptReader(source, Span.parse("1", "3")) as reader,
        VideoWriter(tmp_path / name, reader.info) as out,
    ):
        for frame in reader:
            out.write(frame.picture, frame.pts, frame.duration)
    with av.open(str(tmp_path / name)) as video:
        assert sum(1 for _ in video.decode(video=0)) == 50
    with av.open(str(tmp_path / name)) as video, av.open(str(source)) as whole:
        tone = list(video.decode(audio=0))
        every = list(whole.decode(audio=0))
    first, last = tone[0], tone[-1]
    assert 0 <= first.time < 0.03
    assert 1.97 < last.time + last.samples / 44100 < 2.03
    # The same samples as the source has a second later, within a millisecond, the clock of Matroska.
    part, all_of_it = (np.concatenate([frame.to_ndarray()[0] for frame in each]) for each in (tone, every))
    begin = round((1 + first.time - every[0].time) * 44100) + 4410
    errors = [
        np.abs(all_of_it[place:][:4410] - part[4410:8820]).max() for place in range(begin - 45, begin + 45)
    ]
    assert min(errors) < 1e-3


def test_subtitles_keep_their_words_at_the_start(tmp_path: Path) -> None:
    source = subtitled(tmp_path)
    target = tmp_path / "out.mkv"
    with ExcerptReader(source, Span.parse("1", "3")) as reader, VideoWriter(target, reader.info) as out:
        for frame in reader:
            out.write(frame.picture, frame.pts, frame.duration)
    with av.open(str(target)) as video:
        packets = [packet for packet in video.demux(subtitles=0) if packet.size]
    found = [(bytes(p), float(p.pts * p.time_base), float(p.duration * p.time_base)) for p in packets]
    assert found == [(b"still here", 0.0, 0.5), (b"inside", 1.0, 0.5)]


def subtitled(folder: Path) -> Path:
    """A clip of four seconds with lines before, at the start of, inside and after the part from 1 to 3 s."""
    lines = [(0.0, 0.4, "before"), (0.5, 1.0, "still here"), (2.0, 0.5, "inside"), (3.5, 0.4, "after")]
    clip, words, target = (
        write_clip(folder / "clip.mp4", range(100)),
        folder / "words.srt",
        folder / "with.mkv",
    )

    def clock(seconds: float) -> str:
        return f"00:00:{int(seconds):02},{round(seconds % 1 * 1000):03}"

    words.write_text(
        "\n".join(
            f"{n}\n{clock(at)} --> {clock(at + long)}\n{text}\n"
            for n, (at, long, text) in enumerate(lines, 1)
        )
    )
    with av.open(str(clip)) as video, av.open(str(words)) as text, av.open(str(target), "w") as both:
        tracks = [
            both.add_stream_from_template(s) for s in (video.streams.video[0], text.streams.subtitles[0])
        ]
        packets = [
            (p, track)
            for source, track in zip((video, text), tracks, strict=True)
            for p in source.demux()
            if p.size
        ]
        for packet, track in sorted(packets, key=lambda each: each[0].dts * each[0].time_base):
            packet.stream = track
            both.mux(packet)
    return target
