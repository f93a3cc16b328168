from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from export.onnx_models.weight_swap import BaseBundle
from export.runtimes.difference import ParityError
from fl.release import (
    install,
    is_newest,
    newest,
    publish,
    release_files,
    seal,
    versions,
    withdraw,
)
from fl.signing import make_keys, sign
from mvstylizer.bundle import ROLES, BundleError, load_bundle, sha256_of, write_manifest
from mvstylizer.release import ReleaseError, load_release
from mvstylizer.signature import SignatureError
from tests.lite_release import shipped_lite
from training.checkpoint import CheckpointError


class Cloud:
    """A registry with versions 1 and 2, and its keys."""

    def __init__(self, folder: Path, base_bundle: BaseBundle) -> None:
        self.registry, self.private, self.public = folder / "registry", folder / "key", folder / "key.pub"
        make_keys(self.private, self.public)
        first = publish(
            base_bundle.checkpoint,
            self.registry,
            self.private,
            server_round=4,
            metrics={"total": 0.5},
            base_bundle=base_bundle,
        )
        folder = self.registry / "00002"  # copied, because an export is slow
        shutil.copytree(self.registry / "00001", folder)
        write_manifest(replace(load_bundle(folder), version=2))
        second = replace(first, version=2, parents=(1,), bundle_sha256=sha256_of(folder / "model.json"))
        seal(folder, second, self.private)
        self.releases = [first, second]


@pytest.fixture(scope="module")
def base_bundle() -> BaseBundle:
    return shipped_lite()


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, base_bundle: BaseBundle) -> Cloud:
    """Publishes a copy of the shipped bundle; `export_bundle` itself is tested in tests/export."""

    def copy_export(checkpoint: Path, out: Path, *, version: int, **_: object) -> None:
        assert (checkpoint, version) == (base_bundle.checkpoint, base_bundle.bundle.version)
        shutil.copytree(base_bundle.bundle.path, out)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("export.exporter.export_bundle", copy_export)
        return Cloud(tmp_path_factory.mktemp("cloud"), base_bundle)


@pytest.fixture
def copy(cloud: Cloud, tmp_path: Path) -> Path:
    """A copy of version 2 to tamper with."""
    return Path(shutil.copytree(cloud.registry / "00002", tmp_path / "copy"))


def test_a_release_describes_its_origin(cloud: Cloud, base_bundle: BaseBundle) -> None:
    assert versions(cloud.registry) == [1, 2]
    release, bundle = load_release(cloud.registry / "00001", cloud.public)
    assert release == cloud.releases[0]
    assert (release.version, release.parents, release.turn) == (1, (), 4)
    assert release.checkpoint_sha256 == sha256_of(base_bundle.checkpoint) == bundle.source["sha256"]
    assert release.metrics == {"total": 0.5}
    assert bundle.version == 1
    assert all("max" in bundle.spec(role).parity for role in ROLES)
    assert sorted(path.name for path in cloud.registry.iterdir()) == ["00001", "00002"]


@pytest.mark.parametrize("name", ["stylizer.onnx", "warp.tflite"])
def test_a_flipped_bit_is_detected(cloud: Cloud, copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"{name} is not the file"):
        load_release(copy, cloud.public)


def test_a_changed_manifest_is_detected(cloud: Cloud, copy: Path) -> None:
    (copy / "model.json").write_text((copy / "model.json").read_text().replace("RGB", "BGR"))
    with pytest.raises(ReleaseError, match="differs from the signed one"):
        load_release(copy, cloud.public)


def test_a_signature_of_another_key_is_rejected(cloud: Cloud, copy: Path, tmp_path: Path) -> None:
    make_keys(tmp_path / "thief", tmp_path / "thief.pub")
    (copy / "release.sig").write_bytes(sign(tmp_path / "thief", (copy / "release.json").read_bytes()))
    with pytest.raises(SignatureError, match="is not signed by the owner"):
        load_release(copy, cloud.public)


def test_a_release_with_another_schema_is_rejected(cloud: Cloud, copy: Path) -> None:
    body = json.dumps({**json.loads((copy / "release.json").read_bytes()), "schema": "x/9"}).encode()
    (copy / "release.json").write_bytes(body)
    (copy / "release.sig").write_bytes(sign(cloud.private, body))
    with pytest.raises(ReleaseError, match="has the format x/9"):
        load_release(copy, cloud.public)


def test_a_missing_release_or_version_is_reported(cloud: Cloud, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="signed release"):
        load_release(tmp_path, cloud.public)
    with pytest.raises(ReleaseError, match="contains no release"):
        release_files(tmp_path)
    with pytest.raises(ReleaseError, match=r"contains no version 3. Choose one of \[1, 2\]"):
        release_files(cloud.registry, 3)


def test_a_failed_export_leaves_the_registry_unchanged(
    cloud: Cloud, base_bundle: BaseBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def differs(*_: object) -> None:
        raise ParityError("differs from PyTorch")

    monkeypatch.setattr("export.writers.onnx.check_style_encoder", differs)
    for error, source in ((ParityError, base_bundle.checkpoint), (CheckpointError, tmp_path / "none")):
        with pytest.raises(error):
            publish(
                source,
                cloud.registry,
                cloud.private,
                server_round=5,
                metrics={},
                base_bundle=base_bundle,
            )
    assert sorted(path.name for path in cloud.registry.iterdir()) == ["00001", "00002"]


def test_a_wiped_edge_is_restored_and_updated(cloud: Cloud, tmp_path: Path) -> None:
    releases = tmp_path / "edge" / "releases"
    assert newest(releases) is None
    for version in (1, 2):
        files = release_files(cloud.registry, version)
        assert not is_newest(files, releases)
        folder = install(files, releases, cloud.public)
        assert folder == newest(releases) == releases / f"{version:05d}"
        assert is_newest(files, releases)
        bundle = load_bundle(folder)
        assert bundle.version == version
        assert all(bundle.file(role).is_file() for role in ROLES)
    assert sorted(path.name for path in releases.iterdir()) == ["00001", "00002"]


def test_only_the_previous_release_is_kept(cloud: Cloud, tmp_path: Path) -> None:
    releases = tmp_path / "releases"
    (releases / "00000").mkdir(parents=True)
    (releases / "00000" / "release.json").write_text("{}")
    for version in (1, 2):
        install(release_files(cloud.registry, version), releases, cloud.public)
    assert sorted(path.name for path in releases.iterdir()) == ["00001", "00002"]


def test_withdrawing_a_release_leaves_the_previous_one(cloud: Cloud, tmp_path: Path) -> None:
    releases = tmp_path / "releases"
    for version in (1, 2):
        install(release_files(cloud.registry, version), releases, cloud.public)
    withdraw(releases, 2)
    assert [path.name for path in releases.iterdir()] == ["00001"]


def test_a_replayed_release_is_rejected(cloud: Cloud, tmp_path: Path) -> None:
    releases = tmp_path / "releases"
    install(release_files(cloud.registry), releases, cloud.public)
    for version in (1, 2):
        with pytest.raises(ReleaseError, match="not newer than the running version 2"):
            install(release_files(cloud.registry, version), releases, cloud.public)
    assert [path.name for path in releases.iterdir()] == ["00002"]


def test_a_damaged_release_is_not_installed(cloud: Cloud, tmp_path: Path) -> None:
    releases = tmp_path / "releases"
    install(release_files(cloud.registry, 1), releases, cloud.public)
    whole = release_files(cloud.registry)
    cases = {
        "is missing": [row for row in whole if row[0] != "stylizer.onnx"],
        "is not the file": [(n, c[:-9] if n == "stylizer.onnx" else c) for n, c in whole],
        "unsafe file name": [*whole, ("../../escape", b"")],
    }
    for message, files in cases.items():
        with pytest.raises((BundleError, ReleaseError), match=message):
            install(files, releases, cloud.public)
        assert [path.name for path in releases.iterdir()] == ["00001"]


def test_an_unwritable_folder_is_reported(cloud: Cloud, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ReleaseError, match="Cannot write"):
        install(release_files(cloud.registry), tmp_path / "file" / "releases", cloud.public)
