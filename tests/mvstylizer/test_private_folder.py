"""Temporary folders of programs that end in every way."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mvstylizer.private_folder import LOCK, PrivateFolder

PREFIX = "mvstylizer-test-"
HOLD = (
    "import sys, time; from mvstylizer.private_folder import PrivateFolder\n"
    f"folder = PrivateFolder({PREFIX!r}, 'a note'); (folder.path / 'video').touch()\n"
    "print(folder.path, flush=True); time.sleep(60)"
)


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def test_only_its_owner_can_read_it_and_it_is_deleted(tmp_path: Path) -> None:
    folder = PrivateFolder(PREFIX)
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    second = PrivateFolder(PREFIX)
    assert folder.path.is_dir()
    folder.delete()
    assert second.path.is_dir()
    second.delete()
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_killed_program_is_deleted_by_the_next(tmp_path: Path) -> None:
    notes: list[str] = []
    with subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout
        left = Path(program.stdout.readline().strip())
        PrivateFolder(PREFIX, on_stale=notes.append).delete()
        assert (left / "video").exists()
        program.kill()
        program.wait()
    folder = PrivateFolder(PREFIX, on_stale=notes.append)
    assert not left.exists()
    assert notes == ["a note"]
    folder.delete()


def test_a_child_that_inherits_the_lock_keeps_the_folder() -> None:
    folder = PrivateFolder(PREFIX)
    child = subprocess.Popen(["sleep", "60"], pass_fds=(folder.fileno(),))
    folder.release()
    PrivateFolder(PREFIX).delete()
    assert folder.path.is_dir()
    child.kill()
    child.wait()
    PrivateFolder(PREFIX).delete()
    assert not folder.path.exists()


def test_what_is_not_a_private_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / LOCK).touch()
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "home")
    (tmp_path / f"{PREFIX}foreign").mkdir()
    (tmp_path / f"{PREFIX}file").touch()
    (tmp_path / f"{PREFIX}trap").mkdir()
    (tmp_path / f"{PREFIX}trap" / LOCK).symlink_to(tmp_path / "home" / LOCK)
    before = sorted(tmp_path.rglob("*"))
    PrivateFolder(PREFIX).delete()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_of_another_user_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{PREFIX}other").mkdir()
    (tmp_path / f"{PREFIX}other" / LOCK).touch()
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    PrivateFolder(PREFIX).delete()
    assert (tmp_path / f"{PREFIX}other").exists()
