"""``mvstylizer stylize`` on a folder."""

from __future__ import annotations

import json
from pathlib import Path

import av
from typer.testing import CliRunner

from device_runtime.media.photo import read_photo
from mvstylizer_cli import main as cli
from tests.device_runtime.clips import write_clip


def test_a_folder_is_stylized_and_a_bad_file_reported(dusk: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "holiday", tmp_path / "out"
    (folder / "day 2").mkdir(parents=True)
    write_clip(folder / "a.mp4", range(6))
    write_clip(folder / "day 2" / "b.avi", range(4), codec="mpeg4")
    (folder / "bad.mp4").write_text("no video")
    (folder / "dusk.jpg").write_bytes(dusk.read_bytes())
    words = [
        "stylize",
        str(folder),
        "--style",
        str(dusk),
        "--out",
        str(out),
        "--local",
        "--jobs",
        "2",
        "--json",
    ]
    done = CliRunner().invoke(cli.app, words)
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert (report["done"], report["skipped"], report["failed"]) == (3, 0, 1)
    assert [(Path(file["out"]).name, file["state"]) for file in report["files"]] == [
        ("a.mp4", "done"),
        ("bad.mp4", "failed"),
        ("b.mp4", "done"),
        ("dusk.jpg", "done"),
    ]
    assert report["files"][0]["report"]["frames"] == 6
    assert "bad.mp4 failed" in done.stderr
    for name, frames in (("a.mp4", 6), ("day 2/b.mp4", 4)):
        with av.open(str(out / name)) as video:
            assert sum(1 for _ in video.decode(video=0)) == frames
    assert read_photo(out / "dusk.jpg").shape == (640, 960, 3)
    (folder / "bad.mp4").unlink()
    again = CliRunner().invoke(cli.app, [*words, "--skip-existing"])
    assert again.exit_code == 0
    assert json.loads(again.stdout)["skipped"] == 3


def test_wrong_usage(dusk: Path, tmp_path: Path) -> None:
    for options, said in (
        (("--dry-run",), "several files"),
        (("--live", "x"), "several files"),
        (("--jobs", "0"), "jobs"),
    ):
        words = ["stylize", str(tmp_path), *options, "--style", str(dusk), "--out", str(tmp_path / "out")]
        done = CliRunner().invoke(cli.app, words)
        assert done.exit_code == 2
        assert said in done.output
