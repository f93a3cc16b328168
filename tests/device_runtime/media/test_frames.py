"""Properties of each frame: fields, color tags, transparency; against a plain decode or a formula."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from device_runtime.media.deinterlace import Deinterlace
from device_runtime.media.encoding import Encoding
from device_runtime.media.reader import VideoReader
from device_runtime.media.writer import VideoWriter
from tests.device_runtime.clips import moving_square
from tests.device_runtime.media.test_clock import copied

BARS = np.repeat(
    np.array([[200, 40, 40], [40, 180, 60], [50, 60, 220], [128, 128, 128]], np.uint8), 16, axis=0
)


def bars(index: int, width: int, height: int) -> np.ndarray:
    return np.ascontiguousarray(np.broadcast_to(BARS[:width], (height, width, 3)))


def woven(index: int, width: int, height: int) -> np.ndarray:
    """A bright bar that moves by 4 pixels from field to field, the first field on the even rows."""
    picture = np.full((height, width, 3), 40, np.uint8)
    for row in range(height):
        left = 4 * (2 * index + row % 2)
        picture[row, left : left + 8] = 220
    return picture


def interlaced(path: Path, order: str, count: int = 10) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 64, "yuv420p"
        stream.codec_context.options = {"x264-params": f"{order}=1", "crf": "4", "bf": "0"}
        for index in range(count):
            picture = woven(index % 14, 128, 64)
            if order == "bff":
                picture = np.ascontiguousarray(picture[::-1])
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def combing(picture: np.ndarray) -> float:
    """Mean difference of neighboring rows, minus that of rows of the same field."""
    luma = picture[..., 1].astype(float)
    return float(np.abs(np.diff(luma, axis=0)).mean() - np.abs(luma[2:] - luma[:-2]).mean())


@pytest.mark.parametrize("order", ["tff", "bff"])
def test_interlaced_frames_are_deinterlaced_or_keep_their_flag(tmp_path: Path, order: str) -> None:
    source = interlaced(tmp_path / "fields.mp4", order)
    warnings = copied(source, tmp_path / "auto.mp4")
    assert warnings == ["fields.mp4 is interlaced: its frames were deinterlaced"]
    kept = copied_with(source, tmp_path / "off.mp4", "off")
    assert kept == []
    found = {}
    for name in ("fields", "auto", "off"):
        with av.open(str(tmp_path / f"{name}.mp4")) as container:
            stream = container.streams.video[0]
            frames = list(container.decode(stream))
            order_code = stream.codec_context.field_order
            found[name] = {frame.interlaced_frame for frame in frames}, order_code, frames
    assert [found[name][0] for name in found] == [{True}, {False}, {True}]
    assert found["off"][1] == found["fields"][1] == {"tff": 2, "bff": 3}[order]
    assert [frame.pts for frame in found["auto"][2]] == [frame.pts for frame in found["fields"][2]]
    comb = {
        name: np.mean([combing(frame.to_ndarray(format="rgb24")) for frame in frames[2:-2]])
        for name, (_, _, frames) in found.items()
    }
    assert comb["auto"] < 0.2 * comb["fields"]
    assert comb["off"] == pytest.approx(comb["fields"], rel=0.1)


def copied_with(source: Path, target: Path, deinterlace: Deinterlace) -> list[str]:
    with (
        VideoReader(source, deinterlace=deinterlace) as reader,
        VideoWriter(target, reader.info, encoding=Encoding(crf=4)) as writer,
    ):
        for frame in reader:
            writer.write(frame.picture, frame.pts, frame.duration)
    return [*reader.warnings, *writer.warnings]


@pytest.mark.parametrize(("first", "second"), [((1, 1), (6, 1)), ((6, 1), (1, 2))])
def test_each_frame_is_read_with_its_own_matrix_and_range(
    tmp_path: Path, first: tuple[int, int], second: tuple[int, int]
) -> None:
    parts = []
    for number, (matrix, color_range) in enumerate((first, second)):
        path = tmp_path / f"{number}.ts"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            stream.codec_context.options = {"crf": "1", "bf": "0"}
            stream.codec_context.colorspace, stream.codec_context.color_range = matrix, color_range
            for index in range(5):
                picture = av.VideoFrame.from_ndarray(bars(index, 64, 48), format="rgb24").reformat(
                    format="yuv420p", dst_colorspace={1: 1, 6: 5}[matrix], dst_color_range=color_range
                )
                picture.pts, picture.time_base = index + 5 * number, Fraction(1, 25)
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
        parts.append(path.read_bytes())
    (tmp_path / "in.ts").write_bytes(b"".join(parts))
    warnings = copied(tmp_path / "in.ts", tmp_path / "out.mp4")
    assert any("color tags change midway" in warning for warning in warnings)
    with av.open(str(tmp_path / "out.mp4")) as container:
        for frame in container.decode(video=0):
            rgb = frame.reformat(
                format="rgb24", src_colorspace={1: 1, 6: 5}[first[0]], src_color_range=first[1]
            ).to_ndarray()
            for bar, color in enumerate(BARS[8::16]):
                found = rgb[8:40, 16 * bar + 5 : 16 * bar + 11].reshape(-1, 3).mean(0)
                np.testing.assert_allclose(found, color, atol=4)


def test_transparent_parts_of_a_video_are_black_with_a_warning(tmp_path: Path) -> None:
    source = tmp_path / "clear.mov"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("qtrle", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "argb"
        for index in range(4):
            rgba = np.zeros((48, 64, 4), np.uint8)
            rgba[...] = 255, 40, 0, 0
            rgba[:, :32, 3] = 255
            frame = av.VideoFrame.from_ndarray(rgba, format="rgba").reformat(format="argb")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    warnings = copied(source, tmp_path / "out.mp4")
    assert warnings == ["clear.mov: its transparency is lost: the result is opaque"]
    with av.open(str(tmp_path / "out.mp4")) as container:
        rgb = next(container.decode(video=0)).to_ndarray(format="rgb24")
    np.testing.assert_allclose(rgb[:, :28].reshape(-1, 3).mean(0), (255, 40, 0), atol=6)
    assert rgb[:, 36:].max() < 6


def test_hidden_transparency_of_webm_is_named(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "in.webm"), "w") as container:
        stream = container.add_stream("libvpx", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.metadata["alpha_mode"] = "1"
        frame = av.VideoFrame.from_ndarray(bars(0, 64, 48), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    warnings = copied(tmp_path / "in.webm", tmp_path / "out.mp4")
    assert "in.webm: its transparency is lost: the result is opaque" in warnings


@pytest.mark.parametrize("suffix", [".webp", ".png", ".gif", ".avif"])
def test_a_moving_picture_becomes_a_video(tmp_path: Path, suffix: str) -> None:
    pictures = [Image.fromarray(moving_square(index, 64, 48)) for index in range(4)]
    durations = [40, 40, 120, 40] if suffix != ".avif" else [40] * 4
    path = tmp_path / f"moving{suffix}"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations)
    assert copied(path, tmp_path / "out.mp4") == []
    with av.open(str(tmp_path / "out.mp4")) as container:
        frames = list(container.decode(video=0))
    starts = np.concatenate([[0], np.cumsum(durations)[:-1]]) / 1000
    np.testing.assert_allclose([frame.time for frame in frames], starts, atol=1e-3)
    for frame, picture in zip(frames, pictures, strict=True):
        difference = np.abs(frame.to_ndarray(format="rgb24").astype(int) - np.asarray(picture))
        assert difference.mean() < 8
