"""A release folder that somebody else writes: files exchanged after the check, FIFOs, devices and links."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_triton.lifecycle.release_folder import ReleaseFolder
from fl.release import install, release_files, seal
from fl.signing import make_keys
from mvstylizer.bundle import Bundle, file_spec, load_bundle, sha256_of, write_manifest
from mvstylizer.errors import MVStylizerError
from mvstylizer.regular_file import read_regular
from mvstylizer.release import Release, ReleaseError, load_release

HONEST, EVIL = b"honest weights", b"malign weights"  # equally long


class Registry:
    """A folder with the signed version 2, and an older bundle that an edge serves."""

    def __init__(self, root: Path) -> None:
        self.key, self.public = root / "release.key", root / "release.pub"
        make_keys(self.key, self.public)
        self.folder, self.version = root / "watched", root / "watched" / "00002"
        write_bundle(self.version, HONEST, 2)
        manifest = sha256_of(self.version / "model.json")
        seal(self.version, Release(2, (1,), 4, "", manifest, {}, 0.0), self.key)
        self.evil = write_bundle(root / "evil", EVIL, 2)
        self.served = load_bundle(write_bundle(root / "served", HONEST, 1))

    def exchange(self) -> None:
        """Replace the model and its manifest by a bundle that is consistent, but not signed."""
        for name in ("stylizer.onnx", "model.json"):
            shutil.copy(self.evil / name, self.folder.parent / name)
            (self.folder.parent / name).replace(self.version / name)

    def restore(self) -> None:
        write_bundle(self.version, HONEST, 2)


def write_bundle(folder: Path, content: bytes, version: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stylizer.onnx").write_bytes(content)
    write_manifest(Bundle(folder, "tiny", version, (file_spec(folder, "stylizer", "stylizer.onnx"),)))
    return folder


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path)


def loaded(bundle: Bundle) -> bytes:
    """Return the model as an edge loads it, also when it restarts Triton: from the bundle's path."""
    return load_bundle(bundle.path).file("stylizer").read_bytes()


def test_a_release_exchanged_after_its_check_is_not_loaded(registry: Registry) -> None:
    watched = ReleaseFolder(registry.folder, registry.public)
    bundle, reasons = watched.newest(registry.served)
    assert (bundle.version, reasons) == (2, [])
    registry.exchange()
    assert loaded(bundle) == HONEST
    again, (reason,) = watched.newest(registry.served)
    assert again == registry.served
    assert "differs from the signed one" in reason
    assert loaded(bundle) == HONEST  # an edge may still serve it
    watched.close()


def test_a_release_deleted_after_its_check_can_still_be_loaded(registry: Registry) -> None:
    watched = ReleaseFolder(registry.folder, registry.public)
    bundle, _ = watched.newest(registry.served)
    shutil.rmtree(registry.version)
    assert watched.newest(registry.served) == (registry.served, [])
    assert loaded(bundle) == HONEST
    copies = bundle.path.parent
    assert stat.S_IMODE(copies.stat().st_mode) == 0o700
    watched.close()
    assert not copies.exists()


def test_a_release_exchanged_during_its_check_is_never_loaded(registry: Registry) -> None:
    over = threading.Event()

    def attack() -> None:
        while not over.is_set():
            registry.exchange()
            registry.restore()

    attacker = threading.Thread(target=attack)
    attacker.start()
    try:
        found = []
        for _ in range(200):
            watched = ReleaseFolder(registry.folder, registry.public)
            bundle, _ = watched.newest(registry.served)
            found.append(loaded(bundle))
            watched.close()
    finally:
        over.set()
        attacker.join()
    assert set(found) == {HONEST}


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero
    except PermissionError:
        pytest.skip("only root can make a device; test_a_device_is_not_read needs none")


def make_link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def make_device_link(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_socket(path: Path) -> None:
    os.mknod(path, stat.S_IFSOCK | 0o600)  # unlike bind, this takes a path of any length


ODD = [make_fifo, make_device, make_link, make_device_link, make_socket, Path.mkdir]
NAMES = ["release.json", "release.sig", "model.json", "stylizer.onnx", "more"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("make", ODD)
def test_only_regular_files_are_accepted(registry: Registry, make: Callable[[Path], None], name: str) -> None:
    (registry.version / name).unlink(missing_ok=True)
    make(registry.version / name)
    watched = ReleaseFolder(registry.folder, registry.public)
    calls: dict[str, Callable[[], object]] = {
        "verify": lambda: load_release(registry.version, registry.public),
        "serve": lambda: watched.newest(registry.served)[0] == registry.served,
    }
    if name != "release.json" or make in (make_link, make_device_link):  # without it there is no version
        calls["restore"] = lambda: release_files(registry.folder, 2)
    for call, work in calls.items():
        outcome = within(10, work)
        if call == "serve":
            assert outcome is True
        else:
            assert isinstance(outcome, ReleaseError)
            assert str(outcome).startswith(f"{registry.version / name} is not a regular file. Copy")


def test_a_device_is_not_read() -> None:
    with pytest.raises(OSError, match="Not a regular file"):
        read_regular(Path("/dev/zero"), 1 << 20)


def within(seconds: float, work: Callable[[], object]) -> object:
    """Return what a call returned or raised; fail if it blocks."""
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(work())
        except Exception as err:
            outcome.append(err)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert outcome, "the call blocks"
    return outcome[0]


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "/tmp/x", "a\0b", ".hidden", "x" * 300, "\x1b[2J"])
def test_a_file_name_from_the_cloud_stays_in_the_release(
    registry: Registry, tmp_path: Path, name: str
) -> None:
    files = [*release_files(registry.folder, 2), (name, b"")]
    with pytest.raises(ReleaseError, match="unsafe file name") as caught:
        install(files, tmp_path / "releases", registry.public)
    assert str(caught.value).isprintable()
    assert list((tmp_path / "releases").iterdir()) == []


def test_a_file_larger_than_the_signed_manifest_says_is_not_copied(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    os.truncate(registry.version / "stylizer.onnx", 1 << 40)  # a sparse file that would fill the disk
    watched = ReleaseFolder(registry.folder, registry.public)
    outcome = within(10, lambda: watched.newest(registry.served))
    assert not isinstance(outcome, MVStylizerError)
    bundle, (reason,) = outcome  # type: ignore[misc]
    assert bundle == registry.served
    assert "stylizer.onnx" in reason
