from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import psutil
import pytest
from skimage import data

from device_runtime.media.photo import write_photo
from device_runtime.options import StylizeOptions
from device_runtime.pipeline import stylize_video
from device_runtime.stylizers.tflite_stylizer import TFLiteStylizer
from edge_triton.client.client import EdgeClient, EdgeUnavailableError
from edge_triton.triton.server import TritonServer
from mvstylizer.bundle import default_bundle, load_bundle
from tests.device_runtime.clips import remux

pytestmark = pytest.mark.server

BUNDLE = load_bundle(default_bundle())


@pytest.fixture
def inputs(bikes: Path, tmp_path: Path) -> tuple[Path, Path]:
    folder = tmp_path / "inputs"
    folder.mkdir()
    write_photo(folder / "style.png", data.coffee())
    return remux(bikes, folder / "street.mp4", until=1.2), folder / "style.png"


def killing(at: int, mine: set[psutil.Process]) -> Callable[[int, int | None], None]:
    """Return a progress function that kills the server (all but the processes `mine`) at a frame."""

    def progress(done: int, total: int | None) -> None:
        if done == at:
            for process in set(psutil.Process().children(recursive=True)) - mine:
                with contextlib.suppress(psutil.NoSuchProcess):  # a child may end while we look
                    if process.name() == "tritonserver":
                        process.kill()

    return progress


def times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        base = container.streams.video[0].time_base
        assert base is not None
        return [(frame.pts or 0) * base for frame in container.decode(video=0)]


def test_a_server_killed_mid_run_costs_no_frame(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    source, style = inputs
    mine = set(psutil.Process().children(recursive=True))
    with TritonServer(BUNDLE.path) as server, EdgeClient(server.address, patience_s=0.3) as edge:
        report = stylize_video(
            source,
            style,
            tmp_path / "out.mp4",
            options=StylizeOptions(policy="every:5"),
            stylizer=edge,
            bundle=BUNDLE,
            fallback=lambda: TFLiteStylizer(load_bundle(default_bundle("lite"))),
            progress=killing(3, mine),
        )
    assert times(tmp_path / "out.mp4") == times(source)
    assert (report.frames, report.key_frames) == (32, 7)
    made_here = report.fallback_key_frames
    assert 0 < len(made_here) < report.key_frames
    assert made_here == list(range(0, 32, 5))[-len(made_here) :], "from the outage to the end"
    said = f"did not answer for {len(made_here)} of 7 key frames"
    assert any(said in warning for warning in report.warnings)


def test_without_a_fallback_the_run_fails_with_one_line_and_no_output(
    inputs: tuple[Path, Path], tmp_path: Path
) -> None:
    mine = set(psutil.Process().children(recursive=True))
    with (
        TritonServer(BUNDLE.path) as server,
        EdgeClient(server.address, patience_s=0.3) as edge,
        pytest.raises(EdgeUnavailableError, match="No edge answers at") as caught,
    ):
        stylize_video(
            *inputs,
            tmp_path / "out.mp4",
            options=StylizeOptions(policy="every:5"),
            stylizer=edge,
            bundle=BUNDLE,
            progress=killing(3, mine),
        )
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["inputs"]
