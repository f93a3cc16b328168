"""The examples do what they say, run as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import av
import cv2
import pytest

from training.look.checkpoint import LOOK_WEIGHTS

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def run(example: str, *arguments: object) -> str:
    command = [sys.executable, str(ROOT / "examples" / example), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=900)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_stylize_in_python(street: Path, dusk: Path, tmp_path: Path) -> None:
    said = run("stylize_in_python.py", street, dusk, tmp_path / "out.mp4")
    assert "36 frames, key frames at [0, 15, 30]" in said
    with av.open(str(tmp_path / "out.mp4")) as video:
        first = next(video.decode(video=0)).to_ndarray(format="bgr24")
    assert cv2.imread(str(tmp_path / "out.jpg")).shape == first.shape


@pytest.mark.long
def test_export_and_check(tmp_path: Path) -> None:
    said = run("export_and_check.py", LOOK_WEIGHTS, tmp_path / "bundle")
    assert float(said.split("differ by ")[1].split()[0]) < 1
    assert {path.name for path in (tmp_path / "bundle").iterdir()} >= {"style_encoder.onnx", "stylizer.onnx"}


def test_strip(street: Path, dusk: Path, tmp_path: Path) -> None:
    run("strip.py", street, dusk, tmp_path / "strip.jpg", 3, 33)
    assert cv2.imread(str(tmp_path / "strip.jpg")).shape == (416, 968, 3)
