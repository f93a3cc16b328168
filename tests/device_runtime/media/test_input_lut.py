"""Input LUTs, against the formula that the LUT samples, and against ffmpeg's lut3d."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from device_runtime.lut.cube import write_cube
from device_runtime.media.cube_file import CubeError, read_cube
from device_runtime.media.excerpt import ExcerptReader, Span
from device_runtime.media.input_lut import InputLut, read_content
from device_runtime.media.photo import write_photo
from device_runtime.media.reader import VideoReader
from tests.device_runtime.clips import write_clip


def brighter(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((0.1 + 0.9 * rgb) ** 0.7 * [1.0, 0.9, 0.8])


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    axis = np.linspace(0, 1, 33)
    nodes = np.stack(np.meshgrid(axis, axis, axis, indexing="ij")[::-1], -1)
    path = tmp_path_factory.mktemp("cube") / "log's, to: display.cube"  # FFmpeg's own syntax in the name
    write_cube(path, brighter(nodes).astype(np.float32), "brighter")
    return path


def test_a_cube_is_read_as_it_was_written(cube: Path) -> None:
    lut = read_cube(cube)
    n = len(lut)
    assert np.abs(lut[3, 2, 1] - brighter(np.array([1, 2, 3]) / (n - 1))).max() < 1e-5


def test_a_photo_goes_through_the_lut(cube: Path, tmp_path: Path) -> None:
    photo = data.astronaut()
    write_photo(tmp_path / "a.png", photo)
    got = read_content(tmp_path / "a.png", str(cube))
    wanted = brighter(photo / 255) * 255
    assert np.abs(got - wanted).max() <= 1.6
    assert (read_content(tmp_path / "a.png", None) == photo).all()


def test_every_frame_of_a_video_goes_through_the_lut(cube: Path, tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mp4", range(8), rotation=90)
    with VideoReader(source) as reader:
        before = [frame.rgb / 255 for frame in reader]
        size, pts = (reader.info.width, reader.info.height), [frame.pts for frame in VideoReader(source)]
    with ExcerptReader(source, Span.parse("2f", None), input_lut=str(cube)) as reader:
        frames = list(reader)
        info = reader.info
    assert (info.width, info.height) == size
    assert [frame.pts for frame in frames] == pts[2:]
    assert frames[0].rgb.shape == before[0].shape
    for frame, filmed in zip(frames, before[2:], strict=True):
        difference = np.abs(frame.rgb - brighter(filmed) * 255)
        assert difference.mean() < 1.5  # the decoder's conversion to RGB is rounded in one of the two
        assert np.percentile(difference, 99) < 6


def test_ten_bits_reach_the_lut(tmp_path: Path) -> None:
    """A steep LUT on a smooth ramp: with eight bits before it, there would be bands of several levels."""

    axis = np.linspace(0, 1, 65)
    nodes = np.stack(np.meshgrid(axis, axis, axis, indexing="ij")[::-1], -1)
    write_cube(tmp_path / "steep.cube", np.clip((nodes - 28 / 64) * 8, 0, 1).astype(np.float32), "steep")
    codes = np.linspace(64 + 876 * 28 / 64, 64 + 876 * 36 / 64, 640).round().astype(np.uint16)
    frame = av.VideoFrame(640, 16, "yuv420p10le")
    for plane, values in zip(frame.planes, (codes, np.full(320, 512), np.full(320, 512)), strict=True):
        row = np.zeros(plane.line_size // 2, np.uint16)
        row[: len(values)] = values
        plane.update(np.tile(row, plane.height).tobytes())
    frame.pts, frame.color_range, frame.colorspace = 0, 1, 1
    levels = InputLut(tmp_path / "steep.cube")(frame).to_ndarray(format="rgb24")[8, :, 1]
    wanted = np.clip(((codes - 64) / 876 - 28 / 64) * 8, 0, 1) * 255
    assert np.abs(levels - wanted).max() < 5  # half a level before the LUT, whose gain is eight
    assert len(np.unique(levels)) > 60  # of eight bits, 28 codes lie in this range


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hello\n", "line 1 is not a color"),
        ('TITLE "x"\n', "has no LUT_3D_SIZE"),
        ("LUT_1D_SIZE 2\n0 0 0\n1 1 1\n", "is a 1D LUT"),
        ("LUT_3D_SIZE 2\n0 0 0\n", "has 1 colors instead of 2³ = 8"),
        ("LUT_3D_SIZE 2\n" + "0 0 0\n" * 7 + "0 nan 0\n", "not finite"),
        ("LUT_3D_SIZE 2\n" + "0 0\n" * 8, "line 2 is not a color"),
        ("LUT_3D_SIZE many\n", "is not a size from 2 to 256"),
        ("LUT_3D_SIZE 2\nDOMAIN_MAX 4 4 4\n" + "0 0 0\n" * 8, "only inputs from 0 to 1"),
        ("\x00\x01\x02", "line 1 is not a color"),
    ],
)
def test_files_that_are_not_luts_are_named(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.cube"
    path.write_text(text)
    with pytest.raises(CubeError) as refused:
        InputLut(path)
    assert said in str(refused.value)
    assert str(path) in str(refused.value)


def test_missing_and_other_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(CubeError, match="No such file"):
        read_cube(tmp_path / "none.cube")
    with pytest.raises(CubeError, match=r"suffix \.cube"):
        read_cube(tmp_path / "a.png")
