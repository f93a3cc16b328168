"""The options of ``mvstylizer stylize`` that belong to the phone side, as a user gives them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from skimage import data

from device_runtime.photo import write_photo
from tests.device_runtime.clips import remux

ROOT = Path(__file__).parents[2]


@pytest.fixture
def style(tmp_path: Path) -> Path:
    write_photo(tmp_path / "style.png", data.coffee())
    return tmp_path / "style.png"


def command(source: Path, style: Path, out: Path, *options: str) -> list[str]:
    words = ["stylize", str(source), "--style", str(style), "--out", str(out), "--local", "--json", *options]
    return [sys.executable, "-m", "mvstylizer", *words]


def run(*arguments: Path, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments, *options), cwd=ROOT, capture_output=True, text=True)


def test_a_dry_run_prints_one_json_object_and_writes_nothing(
    bikes: Path, style: Path, tmp_path: Path
) -> None:
    source = remux(bikes, tmp_path / "street.mp4", until=2.0)
    before = sorted(os.listdir(tmp_path))
    done = run(source, style, tmp_path / "out.mp4", options=("--dry-run", "--key-frames", "adaptive:0.6"))
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["cuts"] == [30]
    assert plan["key_frames"] == len(plan["key_frame_places"]) > 2
    assert plan["estimated_seconds"]["total"] > 0
    assert sorted(os.listdir(tmp_path)) == before


def test_a_photo_has_no_plan(style: Path, tmp_path: Path) -> None:
    done = run(style, style, tmp_path / "out.png", options=("--dry-run",))
    assert done.returncode == 2
    assert "needs no plan" in done.stderr


def test_an_interrupted_run_goes_on_with_resume(bikes: Path, style: Path, tmp_path: Path) -> None:
    out, folder = tmp_path / "out.mp4", tmp_path / ".out.mp4.unfinished"
    words = command(bikes, style, out, "--resume")
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        while not (folder / "000000.piece").exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run it again to go on" in said
    assert not out.exists()
    done = run(bikes, style, out, options=("--resume",))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["frames"] == 250
    assert report["resumed_frames"] >= 100
    assert sorted(os.listdir(tmp_path)) == ["out.mp4", "style.png"]
