"""What is neither picture nor time: streams, flags, chapters, tags; read back with plain PyAV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from av.stream import AttachmentStream, Disposition

from device_runtime.media.excerpt import ExcerptReader, Span
from device_runtime.media.writer import VideoWriter
from tests.device_runtime.clips import moving_square, write_clip
from tests.device_runtime.media.test_clock import copied

CHAPTERS = [
    {"id": 1, "start": 0, "end": 200, "time_base": Fraction(1, 1000), "metadata": {"title": "One"}},
    {"id": 2, "start": 200, "end": 480, "time_base": Fraction(1, 1000), "metadata": {"title": "Zwei"}},
]
EVENT = b"0,0,Default,,0,0,0,,Hello"
ASS = (
    b"[Script Info]\nScriptType: v4.00+\n[Events]\n"
    b"Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
)
TAGS = {
    "title": "Street",
    "creation_time": "2024-05-06T05:08:09.000000Z",
    "com.apple.quicktime.make": "Maker",
    "com.apple.quicktime.creationdate": "2024-05-06T07:08:09+0200",
    "com.android.version": "14",
}


def wave(channels: int, samples: int, place: int) -> np.ndarray:
    """A tone of its own frequency for each channel, int16 (channels, samples)."""
    at = np.arange(place, place + samples)
    return np.stack([np.sin(at * 0.02 * (1 + each)) * 8000 for each in range(channels)]).astype(np.int16)


def add_sound(container: Any, codec: str, layout: str, **tags: Any) -> Any:
    stream = container.add_stream(codec, rate=48000, layout=layout)
    stream.metadata.update({key: text for key, text in tags.items() if key != "disposition"})
    stream.disposition = tags.get("disposition", Disposition.default)
    return stream


def write_sound(container: Any, stream: Any, samples: int = 24000) -> None:
    channels = stream.codec_context.channels
    for place in range(0, samples, 960):
        data = np.ascontiguousarray(wave(channels, 960, place).T.reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(data, format="s16", layout=stream.codec_context.layout.name)
        frame.sample_rate, frame.pts, frame.time_base = 48000, place, Fraction(1, 48000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def add_picture(container: Any, **tags: str) -> Any:
    stream = container.add_stream("mpeg4", rate=25)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    stream.metadata.update(tags)
    return stream


def write_picture(container: Any, stream: Any) -> None:
    for index in range(12):
        frame = av.VideoFrame.from_ndarray(moving_square(index, 64, 48), format="rgb24")
        frame.pts, frame.time_base = index, Fraction(1, 25)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def chaptered(path: Path) -> Path:
    """A clip with chapters, and in Matroska a font and two sound tracks of which the second is default."""
    with av.open(str(path), "w") as container:
        picture = add_picture(container)
        first = add_sound(container, "aac", "stereo", language="deu", disposition=Disposition(0))
        second = add_sound(container, "aac", "stereo", language="eng", disposition=Disposition.default)
        if path.suffix == ".mkv":
            container.add_attachment("font.ttf", "font/ttf", b"no real font")
        container.set_chapters(CHAPTERS)
        write_picture(container, picture)
        for stream in (first, second):
            write_sound(container, stream)
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_chapters_languages_and_default_flags_stay(tmp_path: Path, suffix: str) -> None:
    source = chaptered(tmp_path / ("in.mp4" if suffix == ".mov" else f"in{suffix}"))
    assert copied(source, tmp_path / f"out{suffix}") == []
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        spans = [
            (float(each["start"] * (each["time_base"] or 1)), each["metadata"]["title"])
            for each in container.chapters()
        ]
        assert spans == [(0.0, "One"), (0.2, "Zwei")]
        sounds = container.streams.audio
        german = "ger" if suffix == ".mov" else "deu"  # MOV has a list of its own, with the other ISO code
        assert [each.metadata["language"] for each in sounds] == [german, "eng"]
        assert [bool(each.disposition & Disposition.default) for each in sounds] == [False, True]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (("0.08", "0.16"), [(0.0, 0.08, "One")]),
        (("0.08", "0.28"), [(0.0, 0.12, "One"), (0.12, 0.2, "Zwei")]),
        (("0.2", None), [(0.0, None, "Zwei")]),
    ],
)
def test_a_part_has_the_chapters_within_it(
    tmp_path: Path, part: tuple[str, str | None], expected: list[tuple[float, float | None, str]]
) -> None:
    source = chaptered(tmp_path / "in.mkv")
    with (
        ExcerptReader(source, Span.parse(*part)) as reader,
        VideoWriter(tmp_path / "out.mkv", reader.info) as writer,
    ):
        for frame in reader:
            writer.write(frame.picture, frame.pts, frame.duration)
    with av.open(str(tmp_path / "out.mkv")) as container:
        chapters = container.chapters()
    assert [each["metadata"]["title"] for each in chapters] == [title for *_, title in expected]
    for chapter, (begin, end, _) in zip(chapters, expected, strict=True):
        assert float(chapter["start"] * chapter["time_base"]) == pytest.approx(begin, abs=1e-3)
        if end is not None:
            assert float(chapter["end"] * chapter["time_base"]) == pytest.approx(end, abs=1e-3)


def test_attachments_stay_in_matroska_and_are_named_where_they_cannot(tmp_path: Path) -> None:
    source = chaptered(tmp_path / "in.mkv")
    assert copied(source, tmp_path / "out.mkv") == []
    with av.open(str(tmp_path / "out.mkv")) as container:
        fonts = [stream for stream in container.streams if isinstance(stream, AttachmentStream)]
        assert [(font.name, font.mimetype, font.data) for font in fonts] == [
            ("font.ttf", "font/ttf", b"no real font")
        ]
    warnings = copied(source, tmp_path / "out.mp4")
    assert warnings == ["in.mkv: attachment font.ttf omitted: mp4 has no attachments"]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_cover_picture_stays_wherever_it_comes(tmp_path: Path, suffix: str) -> None:
    image = cv2.imencode(".jpg", moving_square(1, 64, 48))[1].tobytes()
    clip = write_clip(tmp_path / "plain.mp4")
    with av.open(str(clip)) as given, av.open(str(tmp_path / "in.mp4"), "w") as container:
        cover = container.add_stream("mjpeg")
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        copy = container.add_stream_from_template(given.streams.video[0], opaque=True)
        container.start_encoding()
        picture = av.Packet(image)
        picture.pts = picture.dts = 0
        picture.time_base, picture.stream = Fraction(1, 90000), cover
        container.mux(picture)
        for packet in given.demux(video=0):
            if packet.size:
                packet.stream = copy
                container.mux(packet)
    assert copied(tmp_path / "in.mp4", tmp_path / f"out{suffix}") == []
    assert copied(tmp_path / "in.mp4", tmp_path / "out.mov") == [
        "in.mp4: a cover picture omitted: mov has none"
    ]
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        covers = [each for each in container.streams.video if each.disposition & Disposition.attached_pic]
        assert len(covers) == 1
        assert next(bytes(packet) for packet in container.demux(covers[0]) if packet.size) == image
        assert len(container.streams.video) == 2


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_tags_of_phones_and_the_timecode_stay(tmp_path: Path, suffix: str) -> None:
    with av.open(
        str(tmp_path / "in.mov"), "w", container_options={"movflags": "use_metadata_tags"}
    ) as container:
        container.metadata.update(TAGS)
        write_picture(container, add_picture(container, timecode="01:02:03:04"))
    assert copied(tmp_path / "in.mov", tmp_path / f"out{suffix}") == []
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        found = {key.lower(): text for key, text in container.metadata.items()}
        assert found | TAGS == found
        tags = {key.lower(): text for key, text in container.streams.video[0].metadata.items()}
        assert tags["timecode"] == "01:02:03:04"


def test_a_second_picture_is_named(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "in.mp4"), "w") as container:
        streams = [add_picture(container) for _ in range(2)]
        for stream in streams:
            write_picture(container, stream)
    warnings = copied(tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert warnings == ["in.mp4: a further video stream (mpeg4, 64×48) omitted"]


def levels(path: Path) -> np.ndarray:
    """Strength of each channel at each tone of `wave`, (channels, tones), of the decoded sound."""
    with av.open(str(path)) as container:
        layout = container.streams.audio[0].layout
        resampler = av.AudioResampler("flt", layout, 48000)  # packed: samples × channels
        parts = [p.to_ndarray() for f in container.decode(audio=0) for p in resampler.resample(f)]
    sound = np.concatenate(parts, axis=1).reshape(-1, layout.nb_channels).T[:, 4800:19200]
    at = np.arange(sound.shape[1])
    tones = np.exp(1j * 0.02 * np.outer(1 + np.arange(len(sound)), at))
    return np.abs(sound @ tones.T) / sound.shape[1]


@pytest.mark.parametrize(("layout", "channels"), [("quad", 4), ("4.0", 4), ("5.1", 6), ("7.1", 8)])
def test_every_sound_channel_stays_itself_when_re_encoded(tmp_path: Path, layout: str, channels: int) -> None:
    with av.open(str(tmp_path / "in.mov"), "w") as container:
        picture = add_picture(container)
        sound = add_sound(container, "pcm_s16le", layout)
        write_picture(container, picture)
        write_sound(container, sound)
    warnings = copied(tmp_path / "in.mov", tmp_path / "out.mp4")
    assert warnings == ["in.mov: sound 1 (pcm_s16le) re-encoded as AAC, because mp4 does not hold its format"]
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert (container.streams.audio[0].name, container.streams.audio[0].channels) == ("aac", channels)
    found = levels(tmp_path / "out.mp4")
    heard = [each for each in range(channels) if not (layout in ("5.1", "7.1") and each == 3)]
    assert [int(found[each].argmax()) for each in heard] == heard, "an LFE channel is band-limited"
    assert copied(tmp_path / "in.mov", tmp_path / "out.mov") == []
    np.testing.assert_allclose(levels(tmp_path / "out.mov"), levels(tmp_path / "in.mov"))


@pytest.mark.parametrize(
    ("codec", "source", "target"),
    [
        ("libopus", "in.webm", "out.mov"),
        ("libopus", "in.mkv", "out.mov"),
        ("flac", "in.mkv", "out.mov"),
        ("mp2", "in.mkv", "out.mp4"),
    ],
)
def test_sound_that_a_container_cannot_hold_is_re_encoded_with_a_warning(
    tmp_path: Path, codec: str, source: str, target: str
) -> None:
    with av.open(str(tmp_path / source), "w") as container:
        picture = container.add_stream("libvpx" if source.endswith("webm") else "mpeg4", rate=25)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        sound = add_sound(container, codec, "stereo")
        write_picture(container, picture)
        write_sound(container, sound)
    warnings = copied(tmp_path / source, tmp_path / target)
    assert len(warnings) == 1
    assert "re-encoded as AAC" in warnings[0]
    assert [int(row.argmax()) for row in levels(tmp_path / target)] == [0, 1]


def test_a_forced_subtitle_stays_forced_and_keeps_its_text(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "plain.mkv")
    with av.open(str(clip)) as given, av.open(str(tmp_path / "in.mkv"), "w") as container:
        copy = container.add_stream_from_template(given.streams.video[0], opaque=True)
        text = container.add_stream("ass")
        text.codec_context.subtitle_header = ASS
        text.disposition = Disposition.forced | Disposition.default
        line = av.Packet(EVENT)
        line.pts = line.dts = 100
        line.duration, line.time_base, line.stream = 200, Fraction(1, 1000), text
        for packet in given.demux(video=0):
            if packet.size:
                packet.stream = copy
                container.mux(packet)
        container.mux(line)
    assert copied(tmp_path / "in.mkv", tmp_path / "out.mkv") == []
    with av.open(str(tmp_path / "out.mkv")) as container:
        stream = container.streams.subtitles[0]
        assert stream.disposition == Disposition.forced | Disposition.default
        assert b"Hello" in next(bytes(packet) for packet in container.demux(stream) if packet.size)


def test_sound_whose_channels_change_midway_goes_on(tmp_path: Path) -> None:
    parts = []
    for number, layout in enumerate(("stereo", "mono", "stereo")):
        path = tmp_path / f"{number}.ts"
        with av.open(str(path), "w") as container:
            picture = add_picture(container)
            sound = add_sound(container, "mp2", layout)
            write_picture(container, picture)
            write_sound(container, sound)
        parts.append(path.read_bytes())
    (tmp_path / "in.ts").write_bytes(b"".join(parts))
    warnings = copied(tmp_path / "in.ts", tmp_path / "out.mp4")
    assert any("re-encoded as AAC" in warning for warning in warnings)
    with av.open(str(tmp_path / "out.mp4")) as container:
        frames = list(container.decode(audio=0))
    assert {frame.layout.name for frame in frames} == {"stereo"}
    loud = [np.abs(frame.to_ndarray()).max() > 0.1 for frame in frames]
    assert np.mean(loud) > 0.9
    assert 1.3 < float(frames[-1].time or 0) < 1.7
