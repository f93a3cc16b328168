from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from device_runtime.media.photo import write_photo
from device_runtime.media.reader import VideoReader
from device_runtime.options import StylizeOptions
from device_runtime.pipeline import stylize_video
from device_runtime.report import Report
from device_runtime.resume import describe_job
from mvstylizer.bundle import default_bundle, load_bundle
from mvstylizer.stylizer import Reply, StylizedFrame
from tests.device_runtime.clips import remux, write_clip

ROOT = Path(__file__).parents[2]
BUNDLE = load_bundle(default_bundle())
POLICY = "every:12"


class WarmStylizer:
    def __init__(self) -> None:
        self.requests = 0

    def encode_style(self, style: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.zeros(4, np.float32)

    def stylize(
        self,
        frame: NDArray[np.uint8],
        style_code: NDArray[np.float32],
        *,
        r: float = 1.0,
        reply: Reply = "image",
    ) -> StylizedFrame:
        self.requests += 1
        color = np.diag(frame.mean((0, 1)) / 255 + 0.4)
        grid = np.zeros((9, 16, 4, 3, 4), np.float32)
        grid[..., :3] = color
        return StylizedFrame(None, grid)

    def close(self) -> None:
        pass


@pytest.fixture
def style(tmp_path: Path) -> Path:
    path = tmp_path / "inputs" / "style.png"
    path.parent.mkdir()
    write_photo(path, data.coffee())
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "out.mp4"


def run(
    source: Path,
    style: Path,
    out: Path,
    stop_at: int | None = None,
    stylizer: WarmStylizer | None = None,
    **chosen: Any,
) -> Report:
    def progress(done: int, total: int | None) -> None:
        if done == stop_at:
            raise KeyboardInterrupt

    return stylize_video(
        source,
        style,
        out,
        options=StylizeOptions(**{"policy": POLICY, **chosen}),
        stylizer=stylizer or WarmStylizer(),
        bundle=BUNDLE,
        progress=progress,
        resume=True,
    )


def interrupted(source: Path, style: Path, out: Path, at: int, **chosen: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(source, style, out, at, **chosen)
    assert not out.exists()


def shown(path: Path) -> list[tuple[Fraction, str]]:
    """Return the time and the hash of each frame."""
    with av.open(str(path)) as container:
        base = container.streams.video[0].time_base
        assert base is not None
        return [
            ((frame.pts or 0) * base, hashlib.sha256(frame.to_ndarray()).hexdigest())
            for frame in container.decode(video=0)
        ]


def decoding_times(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [packet.dts for packet in container.demux(video=0) if packet.dts is not None]


def key_places(source: Path) -> list[int]:
    selector = StylizeOptions(POLICY).selector(BUNDLE)
    with VideoReader(source) as reader:
        return [frame.index for frame in reader if selector.decide(frame).is_key]


PROGRAM = """
import sys
import time
from dataclasses import replace
from pathlib import Path
from tests.device_runtime.test_resume import run
run(*map(Path, sys.argv[1:]))
"""


def test_a_run_killed_and_interrupted_equals_an_unbroken_one(bikes: Path, style: Path, out: Path) -> None:
    whole, folder = out.with_name("whole.mp4"), out.parent / ".out.mp4.unfinished"
    unbroken = run(bikes, style, whole)
    assert unbroken.resumed_frames == 0
    command = [sys.executable, "-c", PROGRAM, str(bikes), str(style), str(out)]
    with subprocess.Popen(command, cwd=ROOT) as process:
        while not (folder / "000000.piece").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    interrupted(bikes, style, out, 230)
    stylizer = WarmStylizer()
    resumed = run(bikes, style, out, stylizer=stylizer)
    assert resumed.resumed_frames >= 200
    assert stylizer.requests == sum(place >= resumed.resumed_frames for place in key_places(bikes))
    assert (resumed.frames, resumed.key_frames) == (unbroken.frames, unbroken.key_frames) == (250, 24)
    assert shown(out) == shown(whole)
    assert [when for when, _ in shown(out)] == [when for when, _ in shown(bikes)]
    assert decoding_times(out) == sorted(set(decoding_times(out)))
    assert sorted(os.listdir(out.parent)) == ["out.mp4", "whole.mp4"]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_sound_and_variable_times_survive_an_interruption(style: Path, out: Path, suffix: str) -> None:
    times = np.cumsum(np.random.default_rng(5).integers(1, 70, 115)).tolist()
    source = write_clip(
        style.with_name("phone.mp4"), times, time_base=Fraction(1, 1000), rotation=90, sound="aac"
    )
    out = out.with_suffix(suffix)
    interrupted(source, style, out, 113)
    assert run(source, style, out).resumed_frames >= 100
    assert [when for when, _ in shown(out)] == [when for when, _ in shown(source)]
    with av.open(str(source)) as before, av.open(str(out)) as after:
        sounds = [[bytes(p) for p in video.demux(audio=0) if p.size] for video in (before, after)]
    assert sounds[0] == sounds[1]


def test_another_job_restarts_and_so_does_a_stop_before_the_first_piece(
    bikes: Path, style: Path, out: Path
) -> None:
    source = remux(bikes, style.with_name("short.mp4"), until=1.0)
    interrupted(source, style, out, 5)
    interrupted(source, style, out, 10, strength=0.5)
    assert run(source, style, out).frames == len(shown(source))
    assert os.listdir(out.parent) == ["out.mp4"]


def test_every_option_is_part_of_the_job(bikes: Path, bunny: Path, style: Path) -> None:
    job = describe_job(bikes, style, BUNDLE, StylizeOptions())
    assert job == describe_job(bikes, style, BUNDLE, StylizeOptions())
    for other in (
        describe_job(bunny, style, BUNDLE, StylizeOptions()),
        describe_job(bikes, bikes, BUNDLE, StylizeOptions()),
        describe_job(bikes, style, replace(BUNDLE, files=BUNDLE.files[:1]), StylizeOptions()),
        describe_job(bikes, style, BUNDLE, StylizeOptions("content")),
        describe_job(bikes, style, BUNDLE, StylizeOptions(two_sided=False)),
        describe_job(bikes, style, BUNDLE, StylizeOptions(crf=19)),
        describe_job(bikes, style, BUNDLE, StylizeOptions(codec="hevc")),
        describe_job(bikes, style, BUNDLE, StylizeOptions(preset="fast")),
    ):
        assert other != job
