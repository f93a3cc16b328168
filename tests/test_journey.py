"""The main job end to end: the installed command, the real Triton, real footage, the finished file."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import psutil
import pytest

ROOT = Path(__file__).parents[1]
DUSK = ROOT / "samples" / "dusk.jpg"
FRAMES = 60
MARK = "MVSTYLIZER_TEST"

pytestmark = pytest.mark.server


def run(*arguments: object, timeout_s: float = 600) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mvstylizer_cli", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s)


def running() -> set[str]:
    """Return the names of the programs that this test started, directly or indirectly, and that still run."""
    found = set()
    for process in psutil.process_iter(["name"]):
        with suppress(psutil.Error):  # it just ended, or belongs to another user
            if process.pid != os.getpid() and process.environ().get(MARK) == os.environ[MARK]:
                found.add(process.info["name"])
    return found


def abandoned() -> set[str]:
    """Return the shared-memory regions that no process has mapped, so none will unlink them."""
    regions = {name for name in os.listdir("/dev/shm") if name.startswith(("triton", "mvs_"))}
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with suppress(OSError):
            text = maps.read_text()
            regions = {name for name in regions if f"/dev/shm/{name}" not in text}
    return regions


@pytest.fixture(autouse=True)
def _clean_up_is_complete(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(MARK, uuid.uuid4().hex)  # child processes inherit it, those of other tests do not
    before = abandoned()
    yield
    assert running() == set()
    left = abandoned() - before
    time.sleep(2 if left else 0)  # another test's program may be about to map or unlink a region
    assert left & abandoned() == set()


@pytest.fixture(scope="module")
def clip(bikes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 60 frames of bikes.mp4, with its scene cut at 30."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(bikes)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=25, options={"crf": "12"})
        stream.width, stream.height, stream.pix_fmt = 640, 272, "yuv420p"
        for frame in itertools.islice(source.decode(video=0), FRAMES):
            frame.pict_type = av.video.frame.PictureType.NONE
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return path


def probe(path: Path) -> tuple[int, int, Fraction, float, int, str]:
    with av.open(str(path)) as video:
        stream = video.streams.video[0]
        count = sum(1 for _ in video.decode(stream))
        assert stream.average_rate is not None
        assert stream.duration is not None
        assert stream.time_base is not None
        seconds = float(stream.duration * stream.time_base)
        return stream.width, stream.height, stream.average_rate, seconds, count, stream.codec_context.name


def pictures(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as video:
        return [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]


@pytest.mark.slow
# Warped pixels tear at disocclusions; a transferred map keeps the frame's own edges.
@pytest.mark.parametrize(("interpolation", "min_similarity"), [("warp", 0.5), ("transfer", 0.7)])
def test_a_video_and_a_style_photo_give_a_stylized_video(
    clip: Path, tmp_path: Path, interpolation: str, min_similarity: float
) -> None:
    out = tmp_path / "out.mp4"
    how = ("--key-frames", "every:10", "--interpolation", interpolation)
    done = run("stylize", clip, "--style", DUSK, "--out", out, *how, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["frames"] == FRAMES
    assert report["key_frames"] == 6  # the cut at 30 falls on a multiple of ten
    assert report["interpolation"] == interpolation
    parts = "decode key_frames edge flow interpolate encode total"
    assert set(report["seconds"]) == set(parts.split())
    assert probe(out)[:5] == pytest.approx(probe(clip)[:5])
    assert probe(out)[5] in {"h264", "libx264"}
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]
    before, after = pictures(clip), pictures(out)
    style = cv2.cvtColor(cv2.imread(str(DUSK)), cv2.COLOR_BGR2RGB)
    target = style.reshape(-1, 3).mean(axis=0)
    for index in (0, 5, 25, 30, 44, 59):
        assert edge_similarity(before[index], after[index]) > min_similarity, index
        # Closer to the style's colors than the clip was.
        near = np.abs(after[index].reshape(-1, 3).mean(axis=0) - target).mean()
        far = np.abs(before[index].reshape(-1, 3).mean(axis=0) - target).mean()
        assert near < max(8.0, 0.8 * far), (index, near, far)


def edge_similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Return the correlation of the Sobel magnitudes: structure, regardless of color."""
    sides = []
    for image in (a, b):
        gray = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 1.5).astype(np.float32)
        sides.append(np.hypot(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)).ravel())
    return float(np.corrcoef(*sides)[0, 1])


@pytest.mark.slow
def test_a_photo_gives_a_photo_and_strength_zero_leaves_it_unchanged(tmp_path: Path) -> None:
    photo = tmp_path / "in.png"
    sharp = cv2.resize(cv2.imread(str(DUSK)), (321, 215), interpolation=cv2.INTER_AREA)[:, ::-1]
    cv2.imwrite(str(photo), 255 - sharp)
    results = {}
    for strength in ("0", "1"):
        out = tmp_path / f"{strength}.png"
        done = run(
            "stylize", photo, "--style", DUSK, "--out", out, "--strength", strength, "--local", "--json"
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["frames"] == 1
        results[strength] = cv2.imread(str(out))
    assert np.array_equal(results["0"], cv2.imread(str(photo)))
    assert np.abs(results["1"].astype(int) - results["0"]).mean() > 5


BAD_INPUTS = {
    "missing video": (["nowhere.mp4", "--style", DUSK, "--out", "out.mp4"], "nowhere.mp4"),
    "not a video": (["text.mp4", "--style", DUSK, "--out", "out.mp4"], "text.mp4"),
    "video without frames": (["sound.mp4", "--style", DUSK, "--out", "out.mp4"], "sound.mp4"),
    "missing style": (["clip.mp4", "--style", "nowhere.jpg", "--out", "out.mp4"], "nowhere.jpg"),
    "style is not an image": (["clip.mp4", "--style", "text.mp4", "--out", "out.mp4"], "text.mp4"),
    "no folder for the output": (["clip.mp4", "--style", DUSK, "--out", "none/out.mp4"], "none"),
    "unknown output format": (["clip.mp4", "--style", DUSK, "--out", "out.docx"], "out.docx"),
    "output over the input": (["clip.mp4", "--style", DUSK, "--out", "clip.mp4"], "clip.mp4"),
    "unreachable edge": (
        ["clip.mp4", "--style", DUSK, "--out", "out.mp4", "--edge", "127.0.0.1:9"],
        "127.0.0.1:9",
    ),
    "not an address": (["clip.mp4", "--style", DUSK, "--out", "out.mp4", "--edge", "http://x"], "http://x"),
    "not a bundle": (["clip.mp4", "--style", DUSK, "--out", "out.mp4", "--bundle", "none"], "none"),
}


@pytest.fixture(scope="module")
def workplace(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    (folder / "clip.mp4").write_bytes(clip.read_bytes())
    (folder / "text.mp4").write_text("neither a video nor an image\n" * 50)
    with av.open(str(folder / "sound.mp4"), "w") as sound:
        stream = sound.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        sound.mux(stream.encode(frame))
        sound.mux(stream.encode(None))
    return folder


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_bad_input_is_a_one_line_error_and_leaves_no_files(workplace: Path, case: str) -> None:
    arguments, named = BAD_INPUTS[case]
    before = {p.name: p.stat().st_size for p in workplace.iterdir()}
    command = [sys.executable, "-m", "mvstylizer_cli", "stylize", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=workplace, capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 1, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("mvstylizer: ")]
    assert len(errors) == 1
    assert named in errors[0]
    assert "Traceback" not in done.stderr
    assert {p.name: p.stat().st_size for p in workplace.iterdir()} == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["stylize", "a.mp4", "--style", "b.jpg"],
        ["stylize", "a.mp4", "--style", "b.jpg", "--out", "c.mp4", "--key-frames", "every:0"],
        ["stylize", "a.mp4", "--style", "b.jpg", "--out", "c.mp4", "--strength", "2"],
        ["stylize", "a.mp4", "--style", "b.jpg", "--out", "c.mp4", "--edge", "h:1", "--local"],
        ["stylize", "a.mp4", "--style", "b.jpg", "--out", "c.mp4", "--edge-output", "image"],
        ["paint"],
    ],
)
def test_wrong_usage_is_exit_2(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_json_reports_errors_as_json(tmp_path: Path) -> None:
    done = run("stylize", "nowhere.mp4", "--style", DUSK, "--out", tmp_path / "out.mp4", "--json")
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert "nowhere.mp4" in result["error"]
    assert result["hint"]


@pytest.mark.slow
@pytest.mark.parametrize(("signal_number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_no_files_and_no_programs(
    bikes: Path, tmp_path: Path, signal_number: int, code: int
) -> None:
    arguments = ["stylize", bikes, "--style", DUSK, "--out", tmp_path / "out.mp4"]
    command = [sys.executable, "-m", "mvstylizer_cli", *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:  # the first progress line: the server runs, frames are being written
        if line.startswith("Stylizing"):
            break
    assert "tritonserver" in running()
    process.send_signal(signal_number)
    assert process.wait(120) == code
    assert "interrupted" in (rest := process.stderr.read()) or "terminated" in rest
    assert not list(tmp_path.iterdir())
    deadline = time.monotonic() + 120
    while running() and time.monotonic() < deadline:
        time.sleep(0.1)
