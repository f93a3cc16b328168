from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from device_runtime.media.atomic_file import OutputError, check_output, pending_file, write_hint


def test_a_file_appears_under_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "result.mp4"
    target.write_text("old")
    with pending_file(target) as pending:
        pending.write_text("new")
        assert target.read_text() == "old"
        assert pending.parent == tmp_path
        assert pending.suffix == ".mp4"
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["result.mp4"]


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt, SystemExit])
def test_whatever_stops_the_writing_leaves_no_file(tmp_path: Path, stop: type[BaseException]) -> None:
    def write() -> None:
        with pending_file(tmp_path / "result.mp4") as pending:
            pending.write_text("half")
            raise stop

    with pytest.raises(stop):
        write()
    assert os.listdir(tmp_path) == []


def test_a_link_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.mp4", tmp_path / "link.mp4"
    real.write_text("old")
    link.symlink_to(real)
    with pending_file(check_output(link)) as pending:
        pending.write_text("new")
    assert link.is_symlink()
    assert real.read_text() == "new"


def test_impossible_outputs_are_refused_before_any_work(tmp_path: Path) -> None:
    source = tmp_path / "in.mp4"
    source.touch()
    with pytest.raises(OutputError, match="no folder"):
        check_output(tmp_path / "missing" / "out.mp4")
    with pytest.raises(OutputError, match="not a regular file"):
        check_output(tmp_path)
    with pytest.raises(OutputError, match="not a regular file"):
        check_output(Path(os.devnull))
    with pytest.raises(OutputError, match="File name too long"):
        check_output(tmp_path / f"{'x' * 300}.mp4")
    with pytest.raises(OutputError, match="also an input"):
        check_output(tmp_path / "." / "in.mp4", source)


def test_only_a_full_disk_needs_space() -> None:
    needs_space = {
        name
        for number, name in errno.errorcode.items()
        if "Free some space" in write_hint(OSError(number, "x"))
    }
    assert needs_space == {"ENOSPC", "EDQUOT"}
    assert write_hint(ValueError("x"))
