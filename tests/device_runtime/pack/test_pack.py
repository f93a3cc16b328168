"""Packs made of a small runtime; `tests/arm64` makes and runs a whole one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from device_runtime.pack import download, pack, runtime
from device_runtime.pack.errors import PackError
from mvstylizer.bundle import default_bundle, load_bundle

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _small_runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "runtime"
    (folder / "site").mkdir(parents=True)
    (folder / "lib").mkdir()
    (folder / "interpreter/bin").mkdir(parents=True)
    (folder / "lib/libc.so.6").write_text("library")
    (folder / "lib/libm.so").symlink_to("libc.so.6")
    monkeypatch.setattr(pack, "runtime_folder", lambda progress: folder)


def test_a_pack_holds_the_kit_and_models_without_onnx(tmp_path: Path) -> None:
    made = pack.make_pack(tmp_path / "pack", default_bundle("lite"))
    assert made == pack.read_pack(tmp_path / "pack")
    assert made.bundle == "lite"
    site = made.path / "site"
    for variant in ("mvstylizer", "lite"):
        bundle = load_bundle(site / "mvstylizer/models" / variant)
        assert {spec.format for spec in bundle.files} == {"tflite", "md"}
    assert load_bundle(made.path / "bundle").network == load_bundle(default_bundle("lite")).network
    assert (site / "mvstylizer_cli/main.py").is_file()
    assert not list(made.path.rglob("*.onnx"))
    for launcher in ("python", "mvstylizer"):
        assert (made.path / launcher).read_text().startswith("#!")
    assert made.files == len(list(pack.pack_files(made.path))) - 1  # the record itself
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pack", "runtime"]


def test_equal_content_has_an_equal_hash(tmp_path: Path) -> None:
    first, second = (pack.make_pack(tmp_path / name) for name in ("a", "b"))
    assert first.content == second.content
    (tmp_path / "runtime/lib/libc.so.6").write_text("another")
    assert pack.make_pack(tmp_path / "a").content != first.content


def test_a_folder_with_other_files_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("text")
    with pytest.raises(PackError, match="exists and is not a pack"):
        pack.make_pack(tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_pack_that_is_too_large_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "MAX_BYTES", 1000)
    with pytest.raises(PackError, match="more than"):
        pack.make_pack(tmp_path / "pack")
    assert [path.name for path in tmp_path.iterdir()] == ["runtime"]


def test_what_is_not_a_pack(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="is not a pack"):
        pack.read_pack(tmp_path)
    (tmp_path / "pack.json").write_text(json.dumps({"schema": "mvstylizer.pack/9"}))
    with pytest.raises(PackError, match="another version"):
        pack.read_pack(tmp_path)


def test_packages_are_pinned_at_the_versions_that_are_tested() -> None:
    locked = dict(re.findall(r"^(\S+)==(\S+)$", (ROOT / "requirements.lock").read_text(), re.M))
    versions = {name.lower().replace("_", "-").replace(".", "-"): version for name, version in locked.items()}
    pinned = re.findall(r"^(\S+)==(\S+) --hash=sha256:(\w{64})$", download.WHEELS.read_text(), re.M)
    assert len(pinned) > 10
    assert {name: version for name, version, _ in pinned} == {name: versions[name] for name, *_ in pinned}
    debian = download.debian_packages(download.DEBIAN.read_text())
    assert {"libc6", "python3.11-minimal"} <= {package.name for package in debian}
    assert all(re.fullmatch(r"[0-9a-f]{64}", package.sha256) for package in debian)


def test_a_download_with_another_hash_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mirror gives something else: nothing is used, and the message names the package."""

    class Mirror:
        def __init__(self, work: Path, sources: object) -> None:
            pass

        def download(self, folder: Path, packages: list[str]) -> str:
            for package in packages:
                (folder / f"{package.split('=')[0]}_1_arm64.deb").write_text("not that one")
            return "E: gone"

    monkeypatch.setattr(download, "Apt", Mirror)
    with pytest.raises(PackError, match=r"apt-get has no .*libc6.* with the pinned SHA-256: E: gone"):
        download.download_debian(tmp_path / "debian", lambda line: None)


def test_without_apt_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PackError, match=r"apt-get is not installed.*container"):
        download.download_debian(tmp_path / "debian", lambda line: None)


def test_the_name_of_a_runtime_changes_with_its_pins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = runtime.runtime_digest()
    (tmp_path / "wheels.txt").write_text("other==1 --hash=sha256:0\n")
    monkeypatch.setattr(runtime, "WHEELS", tmp_path / "wheels.txt")
    assert runtime.runtime_digest() != before
