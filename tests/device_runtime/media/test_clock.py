"""Files whose clock jumps, starts late or is wrong in places, against a plain decode of their parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from device_runtime.media.encoding import Encoding
from device_runtime.media.reader import VideoReader
from device_runtime.media.writer import VideoWriter
from tests.device_runtime.clips import write_clip

RATE = Fraction(25)
AUDIO_PID = 0x101


def copied(source: Path, target: Path) -> list[str]:
    """Copy a video through the reader and the writer and return their warnings."""
    with VideoReader(source) as reader, VideoWriter(target, reader.info, encoding=Encoding(crf=4)) as writer:
        for frame in reader:
            writer.write(frame.picture, frame.pts, frame.duration)
    return [*reader.warnings, *writer.warnings]


def decoded(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]


def times(path: Path, kind: str = "video") -> list[Fraction]:
    with av.open(str(path)) as container:
        frames: Any = container.decode(**{kind: 0})
        return [frame.pts * frame.time_base for frame in frames]


def steps(shown: Sequence[Fraction]) -> np.ndarray:
    return np.diff([float(time) for time in shown])


def late_clip(path: Path, second: int, sound: str | None = "mp2", **options: Any) -> Path:
    """A clip of 12 frames whose clock starts at a second."""
    first = second * int(RATE)
    return write_clip(path, range(first, first + 12), time_base=1 / RATE, sound=sound, **options)


def same_pictures(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert len(found) == len(expected)
    for place, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert np.abs(one - other).mean() < 3, place


@pytest.mark.parametrize("sound", ["mp2", None])
@pytest.mark.parametrize("seconds", [(50, 2), (2, 50), (50, 49)])
def test_recordings_joined_end_to_end_follow_one_another(
    tmp_path: Path, sound: str | None, seconds: tuple[int, int]
) -> None:
    parts = [late_clip(tmp_path / f"{second}.ts", second, sound) for second in seconds]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    warnings = copied(joined, tmp_path / "out.mp4")
    assert any("1 jumps of its clock" in warning for warning in warnings), warnings
    same_pictures(decoded(tmp_path / "out.mp4"), [picture for part in parts for picture in decoded(part)])
    shown = times(tmp_path / "out.mp4")
    assert shown[0] < Fraction(1, 10)
    inside = np.delete(steps(shown), 11)
    np.testing.assert_allclose(inside, 0.04, atol=1e-4)
    assert 0.039 < steps(shown)[11] < 0.1, "sound that is longer than the picture may leave a gap"
    if sound:
        heard = times(tmp_path / "out.mp4", "audio")
        assert 0.8 < float(heard[-1]) < 1.1
        assert steps(heard).min() > 0.015
        assert abs(float(heard[0] - shown[0])) < 0.1


def remuxed(source: Path, target: Path, change: Callable[[int, Any], None], kind: str) -> Path:
    """Copy a file and change the packets of a stream: `change` takes a packet and its number."""
    with av.open(str(source)) as given, av.open(str(target), "w") as copy:
        streams = {each.index: copy.add_stream_from_template(each, opaque=True) for each in given.streams}
        number = 0
        for packet in given.demux():
            if packet.size:
                if packet.stream.type == kind:
                    change(number, packet)
                    number += 1
                packet.stream = streams[packet.stream.index]
                copy.mux(packet)
    return target


@pytest.mark.parametrize("place", [0, 5, 11])
def test_one_packet_with_a_wild_time_is_put_in_its_place(tmp_path: Path, place: int) -> None:
    plain = write_clip(tmp_path / "plain.mkv", sound="mp2", codec="mjpeg", pixel_format="yuvj420p")
    content = bytearray(plain.read_bytes())
    # A block of Matroska begins with the track's number, and its time in the cluster as an int16.
    with av.open(str(plain)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        at = content.index(bytes(packets[place])[:64]) - 4
    assert content[at] == 0x81
    content[at + 1 : at + 3] = (30_000).to_bytes(2, "big")
    wild = tmp_path / "wild.mkv"
    wild.write_bytes(content)
    warnings = copied(wild, tmp_path / "out.mp4")
    assert any("1 wrong times were replaced" in warning for warning in warnings), warnings
    np.testing.assert_allclose(steps(times(tmp_path / "out.mp4")), 0.04, atol=2e-3)
    same_pictures(decoded(tmp_path / "out.mp4"), decoded(plain))


@pytest.mark.parametrize("name", ["late.mkv", "late.flv", "late.mp4", "late.mov", "late.ts"])
def test_a_late_start_is_taken_off_in_every_container(tmp_path: Path, name: str) -> None:
    late = late_clip(tmp_path / name, 30, "aac")
    copied(late, tmp_path / "out.mp4")
    assert times(tmp_path / "out.mp4")[0] < Fraction(1, 10)
    before = times(late)[0] - times(late, "audio")[0]
    after = times(tmp_path / "out.mp4")[0] - times(tmp_path / "out.mp4", "audio")[0]
    assert abs(float(before - after)) < 0.005, "sound and picture stay in step"
    with VideoReader(late) as reader:
        assert reader.info.frame_count is not None
        assert reader.info.frame_count < 20


def test_a_sound_time_given_twice_costs_no_more_than_a_warning(tmp_path: Path) -> None:
    plain = write_clip(tmp_path / "plain.mkv", sound="aac")

    def repeat(number: int, packet: Any) -> None:
        if number == 7:
            packet.pts = packet.dts = packet.dts - (packet.duration or 23)

    twice = remuxed(plain, tmp_path / "twice.mkv", repeat, "audio")
    warnings = copied(twice, tmp_path / "out.mp4")
    assert any("repeated times" in warning for warning in warnings)
    assert len(times(tmp_path / "out.mp4", "audio")) >= len(times(plain, "audio")) - 1
    same_pictures(decoded(tmp_path / "out.mp4"), decoded(plain))


def test_sound_without_data_is_omitted_with_a_warning(tmp_path: Path) -> None:
    content = late_clip(tmp_path / "whole.ts", 1, "aac").read_bytes()
    packets = [content[at : at + 188] for at in range(0, len(content), 188)]
    dead = tmp_path / "dead.ts"
    dead.write_bytes(b"".join(each for each in packets if (each[1] & 31) << 8 | each[2] != AUDIO_PID))
    warnings = copied(dead, tmp_path / "out.mp4")
    assert [line for line in warnings if "sound 1 (aac) omitted: it has no data" in line]
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not container.streams.audio
    same_pictures(decoded(tmp_path / "out.mp4"), decoded(dead))
