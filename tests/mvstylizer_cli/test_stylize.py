"""``mvstylizer stylize`` and ``lut`` on the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data
from typer.testing import CliRunner

from device_runtime.media.photo import read_photo, write_photo
from mvstylizer import bundle
from mvstylizer_cli import main as cli
from tests.device_runtime.clips import remux, write_clip

ROOT = Path(__file__).parents[2]


@pytest.fixture
def style(tmp_path: Path) -> Path:
    write_photo(tmp_path / "style.png", data.coffee())
    return tmp_path / "style.png"


def command(source: Path, style: Path, out: Path, *options: str) -> list[str]:
    words = ["stylize", str(source), "--style", str(style), "--out", str(out), "--local", "--json", *options]
    return [sys.executable, "-m", "mvstylizer_cli", *words]


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
    assert plan["key_frames"] == len(plan["key_frame_indices"]) > 2
    assert plan["estimated_seconds"]["total"] > 0
    assert sorted(os.listdir(tmp_path)) == before


def test_a_part_of_a_video_is_stylized(street: Path, style: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    done = run(street, style, out, options=("--from", "0.4", "--to", "34f", "--key-frames", "every:12"))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["frames"] == 24
    assert report["key_frame_indices"] == [0, 12, 20]  # the cut at 30 among them
    done = run(street, style, out, options=("--from", "1:00"))
    assert done.returncode == 1
    assert "street.mp4 ends before 60 s: it lasts 1.44 s" in done.stderr


def test_a_preview_is_a_contact_sheet(street: Path, style: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    done = run(street, style, out, options=("--preview", "--from", "0.4"))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["matches"], report["frames"][0]["seconds"]) == (["look", "auto", "palette"], 0.4)
    assert read_photo(out).shape[1] > 4 * 320
    done = run(street, style, tmp_path / "sheet.mp4", options=("--preview",))
    assert done.returncode == 1
    assert "sheet.mp4 does not have a photo suffix" in done.stderr


def test_a_local_run_of_the_lite_model_needs_no_onnx_runtime(style: Path, tmp_path: Path) -> None:
    """Its import fails here, as on a phone without it."""
    (tmp_path / "blocked/onnxruntime").mkdir(parents=True)
    (tmp_path / "blocked/onnxruntime/__init__.py").write_text("raise ImportError('blocked')")
    source = write_clip(tmp_path / "clip.mp4", range(4))
    words = command(source, style, tmp_path / "out.mp4")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "blocked"), str(ROOT)])}
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["frames"] == 4


def test_a_dry_run_of_a_photo_is_refused(style: Path, tmp_path: Path) -> None:
    done = run(style, style, tmp_path / "out.png", options=("--dry-run",))
    assert done.returncode == 2
    assert "not supported for photos" in done.stderr


def test_an_interrupted_run_is_resumed(bikes: Path, style: Path, tmp_path: Path) -> None:
    out, folder = tmp_path / "out.mp4", tmp_path / ".out.mp4.unfinished"
    words = command(bikes, style, out, "--resume")
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        while not (folder / "000000.piece").exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run it again to continue" in said
    assert not out.exists()
    done = run(bikes, style, out, options=("--resume",))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["frames"] == 250
    assert report["resumed_frames"] >= 100
    assert sorted(os.listdir(tmp_path)) == ["out.mp4", "style.png"]


def test_a_mix_of_two_styles_becomes_a_lut(style: Path, tmp_path: Path) -> None:
    other, cube = tmp_path / "other.png", tmp_path / "look.cube"
    write_photo(other, data.chelsea())
    words = ["lut", str(style), "--style", str(other), "--style", str(style), "--style-weights", "3,1"]
    words += ["--out", str(cube), "--size", "9", "--local", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "mvstylizer_cli", *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    expected = {"schema_version": 2, "out": str(cube), "size": 9, "key_frames": [0], "start": 0.0}
    assert json.loads(done.stdout) == expected
    assert cube.read_text().startswith('TITLE "other + style"\nLUT_3D_SIZE 9\n')


def test_a_file_that_is_not_a_lut_is_named_in_one_line(street: Path, style: Path, tmp_path: Path) -> None:
    (tmp_path / "log.cube").write_text("LUT_3D_SIZE 33\n0 0 0\n")
    done = run(street, style, tmp_path / "out.mp4", options=("--input-lut", str(tmp_path / "log.cube")))
    assert done.returncode == 1
    assert "log.cube has 1 colors instead of 33³ = 35937" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_live_run_reports_its_latency(bikes: Path, style: Path, tmp_path: Path) -> None:
    source, out = remux(bikes, tmp_path / "street.mp4", until=1.0), tmp_path / "out.mkv"
    done = run(source, style, out, options=("--live",))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["frames"] >= 1
    assert report["latency_ms"]["median"] > 0
    assert out.stat().st_size > 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--style-weights", "1,2"), "2 weights for 1 styles"),
        (("--codec", "prores"), "codec 'prores' is not auto, h264, hevc or a hardware"),
        (("--preset", "warp"), "preset 'warp' is not one of ultrafast"),
        (("--style-weights", "much"), "could not convert"),
        (("--style-weights=-1",), "each must be at least 0"),
        (("--live", "--resume"), "cannot be combined"),
        (("--live", "--flow-init", "codec"), "cannot be combined"),
        (("--edge", "127.0.0.1:1"), "mutually exclusive"),
        (("--edge-output", "image"), "cannot be combined with --interpolation transfer"),
        (("--match", "both"), "both is not look, auto, palette or from 0 to 1"),
        (("--match", "1.5"), "1.5 is not look"),
        (("--key-frames", "every:0"), "N must be between 1 and 30"),
        (("--from", "later"), "'later' is neither a time (12.5, 1:30) nor a frame number (120f)"),
        (("--from", "2", "--to", "1"), "the end (1 s) is not after the start (2 s)"),
        (("--preview", "--resume"), "cannot be combined"),
        (("--from", "2"), "only supported for video files"),
        (("--mask", "a.png"), "must be given together"),
        (("--style-mask", "a.png"), "must be given together"),
        (("--mask", "a.png", "--style-mask", "b.png", "--style", "c.jpg"), "a single --style"),
        (("--mask", "a.png", "--style-mask", "b.png", "--dry-run"), "not supported for photos"),
    ],
)
def test_wrong_usage_exits_with_2(options: tuple[str, ...], said: str, style: Path, tmp_path: Path) -> None:
    words = command(style, style, tmp_path / "out.png", *options)[3:]
    result = CliRunner().invoke(cli.app, words)
    assert result.exit_code == 2
    assert said in result.output


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (("--steady", "0.5"), "--temporal-smoothing"),
        (("--flow-start", "codec"), "--flow-init"),
        (("--flow-init", "before"), "--flow-init previous"),
        (("--reply", "map"), "--edge-output"),
    ],
)
def test_old_option_names_still_work_with_a_warning(
    old: tuple[str, str], new: str, style: Path, tmp_path: Path
) -> None:
    words = command(style, style, tmp_path / "out.png", *old, "--dry-run")[3:]
    result = CliRunner().invoke(cli.app, words)
    assert f"is deprecated, use {new}" in result.output
    assert "not supported for photos" in result.output, "the old name was not understood"


def test_masks_need_a_file_and_a_plain_run(bikes: Path, style: Path, tmp_path: Path) -> None:
    masks = ("--mask", "a.png", "--style-mask", "b.png")
    for source, options, said in (
        (tmp_path, (), "cannot be combined"),
        (bikes, ("--resume",), "cannot be combined"),
        (bikes, ("--interpolation", "warp"), "cannot be combined"),
        (bikes, ("--live",), "cannot be combined"),
    ):
        result = CliRunner().invoke(
            cli.app, command(source, style, tmp_path / "out.mp4", *masks, *options)[3:]
        )
        assert result.exit_code == 2
        assert said in result.output


@pytest.fixture
def masks(tmp_path: Path) -> tuple[str, ...]:
    """Label images of a style of 600×400 as options: sky above, ground below, and a spot in the photo's."""
    for name in ("labels", "style-labels"):
        labels = np.full((400, 600), 255, np.uint8)
        labels[200:] = 0
        if name == "labels":
            labels[:100, :100] = 7
        cv2.imwrite(str(tmp_path / f"{name}.png"), labels)
    return "--mask", str(tmp_path / "labels.png"), "--style-mask", str(tmp_path / "style-labels.png")


def test_the_report_lists_every_label(style: Path, masks: tuple[str, ...], tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    done = run(style, style, out, options=masks)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["labels"] == [
        {"label": "0", "share": 0.5, "style_share": 0.5, "own_style": True},
        {"label": "7", "share": 0.0417, "style_share": 0.0, "own_style": False},
        {"label": "255", "share": 0.4583, "style_share": 0.5, "own_style": True},
    ]
    assert report["warnings"] == []
    assert read_photo(out).shape == (400, 600, 3)
    words = [word for word in command(style, style, out, *masks) if word != "--json"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert "labels: 0 (50.0 %), 7 (4.2 %, the whole style), 255 (45.8 %)" in done.stdout + done.stderr


def test_a_label_image_of_another_aspect_ratio_is_refused_in_one_line(
    style: Path, masks: tuple[str, ...], tmp_path: Path
) -> None:
    cv2.imwrite(str(tmp_path / "labels.png"), np.zeros((600, 400), np.uint8))
    done = run(style, style, tmp_path / "out.png", options=masks)
    assert done.returncode == 1
    assert "not the aspect ratio of its photo" in done.stderr
    assert done.stderr.count("\n") == 1
    assert json.loads(done.stdout)["hint"] == "Draw the label image on the upright photo"
    assert not (tmp_path / "out.png").exists()


def test_the_lite_model_is_found_next_to_the_default_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "__file__", str(tmp_path / "bundle.py"))
    for name in ("mvstylizer", "lite"):
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        (folder / "model.json").touch()
        assert bundle.default_bundle("lite") == folder
        assert bundle.default_bundle() == tmp_path / "models" / "mvstylizer"
