from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
import av.filter
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from device_runtime.lut.cube import fit_lut, write_cube
from device_runtime.lut.shot_lut import shot_lut
from device_runtime.media.atomic_file import OutputError
from device_runtime.media.photo import read_photo, write_photo
from device_runtime.media.reader import VideoReader
from device_runtime.media.video_info import VideoError
from device_runtime.options import StylizeOptions
from device_runtime.pipeline import stylize_photo
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from mvstylizer.bundle import Bundle, default_bundle, load_bundle
from tests.device_runtime.clips import remux

WARM = np.array([[0.8, 0.1, 0, 0.05], [0.1, 0.7, 0, 0.02], [0, 0.1, 0.6, 0.1]], np.float32)
PHOTO = cv2.resize(data.astronaut(), (320, 320), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(default_bundle())


def through_ffmpeg(rgb: NDArray[np.uint8], cube: Path) -> NDArray[np.uint8]:
    """Apply ffmpeg's lut3d to a picture."""
    graph = av.filter.Graph()
    height, width = rgb.shape[:2]
    source = graph.add_buffer(width=width, height=height, format="rgb24", time_base=Fraction(1, 25))
    lut3d = graph.add("lut3d", f"file={cube}")
    sink = graph.add("buffersink")
    source.link_to(lut3d)
    lut3d.link_to(sink)
    graph.configure()
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
    frame.pts, frame.time_base = 0, Fraction(1, 25)
    graph.push(frame)
    pulled = graph.pull()
    assert isinstance(pulled, av.VideoFrame)
    return np.asarray(pulled.to_ndarray(format="rgb24"), np.uint8)


def error(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(np.abs(a.astype(int) - b).mean())


def test_ffmpeg_applies_one_color_transform_exactly(tmp_path: Path) -> None:
    cube = tmp_path / "warm.cube"
    write_cube(cube, fit_lut([(PHOTO, np.broadcast_to(WARM, (9, 9, 3, 3, 4)))]), 'a "warm"\nlook')
    wanted = np.clip(np.rint((PHOTO / 255 @ WARM[:, :3].T + WARM[:, 3]) * 255), 0, 255)
    assert np.abs(through_ffmpeg(PHOTO, cube).astype(int) - wanted).max() <= 2
    lines = cube.read_text().splitlines()
    assert lines[:2] == ["TITLE \"a 'warm' look\"", "LUT_3D_SIZE 33"]
    assert len(lines) == 2 + 33**3


def test_a_title_may_be_any_name(tmp_path: Path) -> None:
    out = tmp_path / os.fsdecode(b"l\xe4\xf6.cube")
    write_cube(out, np.zeros((2, 2, 2, 3), np.float32), os.fsdecode(b'dusk \xe4 "a"\n'))
    assert out.read_text(encoding="utf-8").startswith("TITLE \"dusk \N{REPLACEMENT CHARACTER} 'a'\"\n")


def test_a_cube_of_a_photo_reproduces_most_of_the_style(bundle: Bundle, tmp_path: Path) -> None:
    source, style, cube, out = (tmp_path / name for name in ("a.png", "style.png", "look.cube", "out.png"))
    write_photo(source, PHOTO)
    write_photo(style, data.coffee())
    with OnnxStylizer(bundle) as stylizer:
        report = shot_lut(source, style, cube, stylizer=stylizer, bundle=bundle)
        stylize_photo(source, style, out, stylizer=stylizer)
    assert (report.key_frames, report.size, report.start) == ([0], 33, 0.0)
    wanted, got = read_photo(out), through_ffmpeg(PHOTO, cube)
    assert error(got, wanted) < error(PHOTO, wanted) / 4


def test_the_shot_at_the_given_time_is_used(bikes: Path, bundle: Bundle, tmp_path: Path) -> None:
    """bikes.mp4 has a cut at frame 30: two shots with two LUTs, each better on its own shot."""
    style, street = tmp_path / "style.png", remux(bikes, tmp_path / "street.mp4", until=1.9)
    write_photo(style, data.coffee())
    with VideoReader(street) as reader:
        frames = {frame.index: frame.rgb for frame in reader}
    cubes = {10: tmp_path / "first.cube", 45: tmp_path / "second.cube"}
    errors = {}
    with OnnxStylizer(bundle) as stylizer:
        for place, cube in cubes.items():
            report = shot_lut(street, style, cube, stylizer=stylizer, bundle=bundle, at_s=place / 25, size=17)
            assert report.key_frames[0] == {10: 0, 45: 30}[place]
            assert report.start == {10: 0.0, 45: 1.2}[place]
        code = stylizer.encode_style(data.coffee())
        for place in cubes:
            wanted = stylizer.stylize(frames[place], code).image
            assert wanted is not None
            errors[place] = [error(through_ffmpeg(frames[place], cube), wanted) for cube in cubes.values()]
    assert errors[10][0] < errors[10][1]
    assert errors[45][1] < errors[45][0]


def test_strength_zero_changes_nothing(bundle: Bundle, tmp_path: Path) -> None:
    source, cube = tmp_path / "a.png", tmp_path / "same.cube"
    write_photo(source, PHOTO)
    with OnnxStylizer(bundle) as stylizer:
        shot_lut(source, source, cube, options=StylizeOptions(strength=0), stylizer=stylizer, bundle=bundle)
    assert np.abs(through_ffmpeg(PHOTO, cube).astype(int) - PHOTO).max() <= 1


def test_bad_input_is_refused(bikes: Path, bundle: Bundle, tmp_path: Path) -> None:
    style = tmp_path / "style.png"
    write_photo(style, PHOTO)
    with OnnxStylizer(bundle) as stylizer:
        for options, out, wrong in (
            ({"at_s": 99.0}, "a.cube", VideoError),
            ({}, "a.lut", OutputError),
            ({"size": 1}, "a.cube", ValueError),
        ):
            with pytest.raises(wrong):
                shot_lut(bikes, style, tmp_path / out, stylizer=stylizer, bundle=bundle, **options)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["style.png"]
