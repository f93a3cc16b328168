"""Names, pipes, signals and full disks, as a user of the command line meets them."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from device_runtime.media.photo import is_photo, write_photo
from device_runtime.media.reader import VideoReader
from device_runtime.media.video_info import VideoError
from device_runtime.media.writer import VideoWriter
from mvstylizer_cli import main as cli
from tests.device_runtime.clips import write_clip

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "mvstylizer_cli"]
ODD_NAMES = ["12:30.mp4", "concat:x.mp4", "größe.mp4", os.fsdecode(b"latin1_\xe4.mp4"), "a%03d.mp4"]


@pytest.fixture
def style(tmp_path: Path) -> Path:
    write_photo(tmp_path / "style.png", np.full((64, 64, 3), (200, 120, 60), np.uint8))
    return tmp_path / "style.png"


def test_every_name_of_a_video_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_clip(tmp_path / "clip.mp4", range(3), sound="aac")
    monkeypatch.chdir(tmp_path)
    for name in ODD_NAMES:
        shutil.copy(clip, name)
        out = Path(f"out-{name}")
        with VideoReader(Path(name)) as reader, VideoWriter(out, reader.info) as writer:
            for frame in reader:
                writer.write(frame.picture, frame.pts, frame.duration)
        with VideoReader(out) as reader:
            assert len(list(reader)) == 3


def test_a_name_that_is_not_text_works_without_a_locale(style: Path, tmp_path: Path) -> None:
    source, out = (style.with_name(os.fsdecode(name)) for name in (b"\xe4\xfc.png", b"out_\xe4.png"))
    shutil.copy(style, source)
    words = [*PROGRAM, "stylize", source, "--style", style, "--out", out, "--local"]
    done = subprocess.run(
        words, cwd=ROOT, capture_output=True, env={**os.environ, "LC_ALL": "C", "PYTHONPATH": str(ROOT)}
    )
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    assert out.stat().st_size > 0


def test_a_pipe_and_a_folder_are_refused_by_what_they_are(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(VideoError, match=r"not a file but a pipe or device.*Save it as a video file"):
        VideoReader(tmp_path / "pipe.mp4")
    with pytest.raises(VideoError, match="It is a folder"):
        VideoReader(tmp_path)
    for name in ("missing.mp4", "a" * 300 + ".mp4"):
        assert not is_photo(tmp_path / name)
        with pytest.raises(VideoError, match="There is no file"):
            VideoReader(tmp_path / name)


@pytest.mark.parametrize("words", [["--help"], ["stylize", "--json"]])
def test_an_output_that_cannot_be_written_is_one_line(words: list[str], style: Path, tmp_path: Path) -> None:
    if "stylize" in words:
        words = [*words, str(style), "--style", str(style), "--out", str(tmp_path / "out.png"), "--local"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*PROGRAM, *words], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    lines = [line for line in done.stderr.splitlines() if line.startswith("mvstylizer:")]
    assert done.returncode == 1
    assert lines == [
        "mvstylizer: Standard output cannot be written (No space left on device)."
        " Check where it is redirected to"
    ]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_in_mid_run_leaves_nothing(
    bikes: Path, style: Path, tmp_path: Path, number: signal.Signals
) -> None:
    folder = tmp_path / "result"
    folder.mkdir()
    words = [
        *PROGRAM,
        "stylize",
        str(bikes),
        "--style",
        str(style),
        "--out",
        str(folder / "out.mp4"),
        "--local",
    ]
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "25 of 250" not in process.stderr.readline():
            assert process.poll() is None
        assert os.listdir(folder), "it is being written"
        process.send_signal(number)
        said = process.stderr.read()
    assert process.returncode == 128 + number
    assert "terminated, no partial results were kept" in said
    assert os.listdir(folder) == []


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("can't start new thread"),
        cv2.error("(-4:Insufficient memory) Failed to allocate 8 bytes"),
    ],
)
def test_a_lack_of_memory_is_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    monkeypatch.setattr(cli, "_handle_signals", lambda: None)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    assert capsys.readouterr().err == (
        "mvstylizer: There is not enough memory. Close other programs or raise the memory limit\n"
    )
