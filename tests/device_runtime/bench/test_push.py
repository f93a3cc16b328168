from __future__ import annotations

import os
from pathlib import Path

import pytest

from device_runtime.bench.adb import Phone
from device_runtime.bench.adb_errors import AdbError
from device_runtime.bench.push import FOLDER, push_changed
from tests.device_runtime.bench.adb_daemon import EmulatedPhone


def test_only_changed_files_are_copied(phone: Phone, emulated: EmulatedPhone, tmp_path: Path) -> None:
    files = {"a.bin": tmp_path / "first", "b.bin": tmp_path / "second"}
    for name, path in files.items():
        path.write_text(name * 100)
    assert push_changed(phone, files) == ["a.bin", "b.bin"]
    assert push_changed(phone, files) == []
    assert emulated.pushed == [f"{FOLDER}/a.bin", f"{FOLDER}/b.bin"]
    assert emulated.path(f"{FOLDER}/b.bin").read_text() == "b.bin" * 100


def test_same_size_and_date_is_not_the_same_content(
    phone: Phone, emulated: EmulatedPhone, tmp_path: Path
) -> None:
    local = tmp_path / "model"
    for content in ("old model", "new model"):
        local.write_text(content)
        os.utime(local, (1e9, 1e9))
        assert push_changed(phone, {"model": local}) == ["model"]
    assert emulated.path(f"{FOLDER}/model").read_text() == "new model"


def test_a_half_copied_file_is_copied_again(phone: Phone, emulated: EmulatedPhone, tmp_path: Path) -> None:
    local = tmp_path / "model"
    local.write_bytes(bytes(1000))
    push_changed(phone, {"model": local})
    emulated.path(f"{FOLDER}/model").write_bytes(bytes(500))
    assert push_changed(phone, {"model": local}) == ["model"]


def test_a_folder_that_cannot_be_made(phone: Phone, emulated: EmulatedPhone, tmp_path: Path) -> None:
    emulated.path(FOLDER).write_text("a file is in the way")
    with pytest.raises(AdbError, match="cannot create"):
        push_changed(phone, {"model": tmp_path})
