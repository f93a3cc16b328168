from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.once import once

ROOT = Path(__file__).parents[1]
SHARED = """
import os
from pathlib import Path

import pytest

from tests.once import once


@pytest.mark.parametrize("number", range(8))
def test_all_processes_share_one_folder(number, tmp_path_factory):
    def make(folder: Path) -> None:
        with open(os.environ["CALLS"], "a") as calls:
            calls.write("made\\n")
        (folder / "result").write_text("42")

    assert (once("answer", tmp_path_factory, make) / "result").read_text() == "42"
"""


def test_the_processes_of_a_run_share_one_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "test_shared.py").write_text(SHARED)
    options = ["-n", "2", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "-c", "/dev/null"]
    command = [sys.executable, "-m", "pytest", *options, f"--basetemp={tmp_path / 'run'}", "test_shared.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "calls").read_text() == "made\n"


def test_failed_work_is_repeated(tmp_path_factory: pytest.TempPathFactory) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise ValueError("failed")

    with pytest.raises(ValueError, match="failed"):
        once("repeated", tmp_path_factory, fail)
    folder = once("repeated", tmp_path_factory, lambda folder: (folder / "whole").touch())
    assert [path.name for path in folder.iterdir()] == ["whole"]
