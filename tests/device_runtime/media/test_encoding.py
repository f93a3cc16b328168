"""Encoders are chosen by name, and those that a machine lacks are refused in one line."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from device_runtime.media.encoder import PictureEncoder
from device_runtime.media.encoding import EncoderError, Encoding
from device_runtime.media.reader import VideoReader
from device_runtime.media.writer import VideoWriter
from tests.device_runtime.clips import write_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "a.mp4", size=(160, 96))


def written(clip: Path, out: Path, **chosen: Any) -> Path:
    with VideoReader(clip) as reader, VideoWriter(out, reader.info, encoding=Encoding(**chosen)) as writer:
        for frame in reader:
            writer.write(frame.picture, frame.pts, frame.duration)
    return out


@pytest.mark.parametrize(
    ("chosen", "codec", "tag"),
    [({}, "h264", "avc1"), ({"codec": "h264"}, "h264", "avc1"), ({"codec": "hevc"}, "hevc", "hvc1")],
)
def test_the_codec_and_its_tag(clip: Path, tmp_path: Path, chosen: Any, codec: str, tag: str) -> None:
    with av.open(str(written(clip, tmp_path / "out.mp4", **chosen))) as made, av.open(str(clip)) as given:
        stream = made.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.codec_tag) == (codec, tag)
        for before, after in zip(given.decode(video=0), made.decode(video=0), strict=True):
            assert after.pts * after.time_base == before.pts * before.time_base  # type: ignore[operator]
            ours, theirs = (each.to_ndarray(format="rgb24").astype(int) for each in (after, before))
            assert np.abs(ours - theirs).mean() < 3


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_a_lower_crf_and_a_slower_preset_count(clip: Path, tmp_path: Path, codec: str) -> None:
    def size(**chosen: Any) -> int:
        return written(clip, tmp_path / "out.mkv", codec=codec, **chosen).stat().st_size

    assert size(crf=5) > 1.5 * size(crf=40)
    assert size(preset="ultrafast") != size(preset="medium")


@pytest.mark.parametrize(
    ("chosen", "named"),
    [
        ({"codec": "prores"}, "codec 'prores'"),
        ({"codec": "h264;rm"}, "codec"),
        ({"preset": "warp"}, "preset 'warp'"),
        ({"crf": 52}, "crf 52"),
        ({"crf": -1}, "crf -1"),
    ],
)
def test_wrong_values_are_named(chosen: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Encoding(**chosen)


def test_a_hardware_encoder_takes_its_own_names() -> None:
    encoder = Encoding("hevc_nvenc", preset="p4", crf=23).encoder(10)
    assert (encoder.name, encoder.pixel_format, encoder.bits) == ("hevc_nvenc", "p010le", 10)
    assert encoder.options == {"preset": "p4", "rc": "vbr", "b": "0", "cq": "23"}
    assert Encoding("h264_qsv").encoder(8).options == {}
    assert Encoding("h264_qsv").encoder(8).pixel_format == "nv12"
    with pytest.raises(EncoderError, match="h264_v4l2m2m has no constant quality"):
        Encoding("h264_v4l2m2m", crf=20).encoder(8)


def test_auto_keeps_the_bits() -> None:
    assert Encoding().encoder(8).name == "libx264"
    assert Encoding().encoder(10)[:2] == ("libx265", "yuv420p10le")
    assert Encoding("h264").encoder(10).bits == 8
    assert Encoding("hevc").encoder(8).pixel_format == "yuv420p"
    assert Encoding().encoder(10, odd=True).pixel_format == "yuv444p10le"
    with pytest.raises(EncoderError, match="h264_qsv takes no pictures of 8 bits and odd size"):
        Encoding("h264_qsv").encoder(8, odd=True)


def test_an_encoder_that_ffmpeg_lacks_is_refused() -> None:
    with pytest.raises(EncoderError, match="no encoder h264_abacus"):
        Encoding("h264_abacus").encoder(8)


def test_an_encoder_that_the_machine_lacks_is_refused(clip: Path, tmp_path: Path) -> None:
    with VideoReader(clip) as reader:
        lacking = Encoding("h264_amf")  # needs AMD's driver and graphics card
        with pytest.raises(EncoderError, match="h264_amf cannot be opened here"):
            PictureEncoder(reader.info, encoding=lacking)
        with (
            pytest.raises(EncoderError, match="h264_amf"),
            VideoWriter(tmp_path / "out.mp4", reader.info, encoding=lacking),
        ):
            pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("pts", [[0], [0, 33], [0, 33, 50], [0, 33, 50, 100, 111, 180, 181, 260]])
def test_short_and_uneven_clips_in_hevc_keep_their_times(tmp_path: Path, suffix: str, pts: list[int]) -> None:
    """x265's own decoding times are undefined in a clip that is shorter than its delay."""
    clip = write_clip(tmp_path / "vfr.mp4", pts, time_base=Fraction(1, 1000), size=(160, 96))
    with av.open(str(written(clip, tmp_path / f"out{suffix}", codec="hevc"))) as made:
        base = made.streams.video[0].time_base
        packets = [packet for packet in made.demux(video=0) if packet.size]
        decoded = [packet.dts for packet in packets if packet.dts is not None]
        assert decoded == sorted(set(decoded))
        assert all(packet.pts >= packet.dts for packet in packets if packet.dts is not None)  # type: ignore[operator]
        assert sorted(packet.pts * base for packet in packets) == [Fraction(each, 1000) for each in pts]  # type: ignore[operator]
