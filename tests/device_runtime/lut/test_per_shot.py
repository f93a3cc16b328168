"""A LUT for each shot and the list that places them, used as a grading tool would: with ffmpeg's lut3d."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from device_runtime.lut.cube import fit_lut, write_cube
from device_runtime.lut.edl import Event, timecode, write_edl
from device_runtime.lut.per_shot import per_shot_luts
from device_runtime.media.atomic_file import OutputError
from device_runtime.media.cube_file import read_cube
from device_runtime.media.input_lut import InputLut
from device_runtime.media.reader import VideoReader
from device_runtime.options import StylizeOptions
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from mvstylizer.bundle import default_bundle, load_bundle

EVENT = re.compile(r"(\d{3})  AX       V     C        (\S+) (\S+) (\S+) (\S+)")


def frame_of(code: str, base: int) -> int:
    hours, minutes, seconds, frames = map(int, code.split(":"))
    return ((hours * 60 + minutes) * 60 + seconds) * base + frames


def test_each_shot_has_a_lut_of_its_own(street: Path, dusk: Path, tmp_path: Path) -> None:
    """street.mp4 has a cut at frame 30."""
    bundle, out = load_bundle(default_bundle("lite")), tmp_path / "luts"
    seen: list[tuple[int, int | None]] = []
    with OnnxStylizer(bundle) as stylizer:
        report = per_shot_luts(
            street,
            dusk,
            out,
            stylizer=stylizer,
            bundle=bundle,
            size=33,
            progress=lambda done, total: seen.append((done, total)),
        )
        code = stylizer.encode_style(_photo(dusk))
        with VideoReader(street) as reader:
            frames = {frame.index: frame.rgb for frame in reader}
        wanted = {place: stylizer.stylize(frames[place], code).image for place in (10, 33)}
    assert [(shot.first, shot.end, shot.start) for shot in report.shots] == [(0, 30, 0.0), (30, 36, 1.2)]
    assert seen == [(30, 36), (36, 36)]
    assert sorted(path.name for path in out.iterdir()) == ["street-001.cube", "street-002.cube", "street.edl"]

    text = Path(report.edl).read_text()
    events = [
        [frame_of(each, 25) for each in found.groups()[1:]]
        for found in map(EVENT.fullmatch, text.splitlines())
        if found
    ]
    assert events == [[0, 30, 0, 30], [30, 36, 30, 36]]
    assert "* LUT: street-002.cube" in text
    errors = {
        place: [
            np.abs(InputLut(Path(shot.out)).picture(frames[place]).astype(int) - image).mean()
            for shot in report.shots
        ]
        for place, image in wanted.items()
        if image is not None
    }
    assert errors[10][0] < errors[10][1]
    assert errors[33][1] < errors[33][0]


@pytest.mark.parametrize("size", [33, 65])
def test_ffmpeg_reads_both_usual_sizes(size: int, tmp_path: Path) -> None:
    warm = np.array([[0.8, 0.1, 0, 0.05], [0.1, 0.7, 0, 0.02], [0, 0.1, 0.6, 0.1]], np.float32)
    photo = data.astronaut()[::4, ::4]
    write_cube(tmp_path / "a.cube", fit_lut([(photo, np.broadcast_to(warm, (9, 9, 3, 3, 4)))], size), "warm")
    wanted = np.clip((photo / 255 @ warm[:, :3].T + warm[:, 3]) * 255, 0, 255)
    assert len(read_cube(tmp_path / "a.cube")) == size
    assert np.abs(InputLut(tmp_path / "a.cube").picture(photo) - wanted).max() < 1.2


def test_an_input_lut_comes_first(street: Path, dusk: Path, tmp_path: Path) -> None:
    """A LUT that makes everything gray leaves nothing of the colors by which two shots differ."""
    bundle, axis = load_bundle(default_bundle("lite")), np.linspace(0, 1, 9)
    nodes = np.stack(np.meshgrid(axis, axis, axis, indexing="ij")[::-1], -1)
    gray = np.repeat(nodes.mean(-1, keepdims=True), 3, -1).astype(np.float32)
    write_cube(tmp_path / "gray.cube", gray, "gray")
    options = StylizeOptions(strength=0, input_lut=str(tmp_path / "gray.cube"))
    with OnnxStylizer(bundle) as stylizer:
        report = per_shot_luts(
            street, dusk, tmp_path, options=options, stylizer=stylizer, bundle=bundle, size=9
        )
    identity = read_cube(Path(report.shots[0].out))
    assert np.abs(identity - nodes).max() < 1e-3  # the input LUT is not part of the result


def test_time_codes_count_frames() -> None:
    assert timecode(0, 25) == "00:00:00:00"
    assert timecode(25 * 3661 + 7, 25) == "01:01:01:07"


def test_a_list_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        write_edl(tmp_path / "none" / "a.edl", "a", "a.mp4", Fraction(30000, 1001), [Event(0, 1, "LUT")])


def _photo(path: Path) -> np.ndarray:  # type: ignore[type-arg]
    from device_runtime.media.photo import read_photo

    return read_photo(path)
