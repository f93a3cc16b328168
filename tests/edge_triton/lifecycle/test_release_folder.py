"""The folder of releases: signatures, broken bundles, and what is served."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_triton.edge import EdgeConfigError, EdgeOptions
from edge_triton.lifecycle.release_folder import ReleaseFolder
from fl.release import seal
from fl.signing import make_keys
from mvstylizer.bundle import Bundle, load_bundle, sha256_of, write_manifest
from mvstylizer.release import Release
from mvstylizer.signature import SignatureError
from tests.edge_triton.lifecycle.releases import SteadyTraffic, corrupt, facts, publish

pytestmark = pytest.mark.server
StartEdge = Callable[..., Any]


def test_edge_follows_its_release_folder(start_edge: StartEdge, bundle: Bundle, tmp_path: Path) -> None:
    def wait_for(version: int) -> None:
        running.until(lambda: facts(running)["version"] == version)

    watched = tmp_path / "releases"
    watched.mkdir()
    with start_edge(bundle, watch=watched) as running, SteadyTraffic(running.edge.address) as load:
        publish(bundle, watched / "2", 2)
        wait_for(2)
        load.wait()
        bad = corrupt(publish(bundle, tmp_path / "bad", 3), b"no model")
        bad.path.rename(watched / "3")
        (watched / "nonsense").mkdir()
        (watched / "nonsense" / "model.json").write_text("{")
        running.until(lambda: 'event="refused"' in running.edge.metrics.text())
        shutil.rmtree(watched / "3")
        publish(bundle, watched / "3", 3)  # repaired
        wait_for(3)
        load.wait()
        watched.rename(tmp_path / "away")  # as a network disk may be
        time.sleep(1.5)
        assert facts(running)["version"] == 3
        (tmp_path / "away").rename(watched)
        shutil.rmtree(watched / "3")
        wait_for(2)
        shutil.rmtree(watched / "2")
        wait_for(1)
    assert load.failures == []


def sign(bundle: Bundle, key: Path) -> Bundle:
    manifest = sha256_of(bundle.path / "model.json")
    seal(bundle.path, Release(bundle.version, (), 1, "", manifest, {}, 0.0), key)
    return bundle


def test_release_key_admits_signed_releases_only(
    start_edge: StartEdge, bundle: Bundle, tmp_path: Path
) -> None:
    cloud, thief, watched = tmp_path / "cloud", tmp_path / "thief", tmp_path / "releases"
    for key in (cloud, thief):
        make_keys(key, key.with_suffix(".pub"))
    watched.mkdir()
    with start_edge(bundle, watch=watched, release_key=cloud.with_suffix(".pub")) as running:
        with SteadyTraffic(running.edge.address) as load:
            publish(bundle, watched / "5", 5)  # not signed
            sign(publish(bundle, tmp_path / "4", 4), thief).path.rename(watched / "4")
            replayed = sign(publish(bundle, tmp_path / "3", 3), cloud)
            write_manifest(replace(replayed, version=9))  # with the signature of version 3
            replayed.path.rename(watched / "3")
            refused = 'mvstylizer_releases_total{event="refused"} 3.0'
            running.until(lambda: refused in running.edge.metrics.text())
            sign(publish(bundle, tmp_path / "2", 2), cloud).path.rename(watched / "2")
            running.until(lambda: facts(running)["version"] == 2)
        assert load.failures == []
        assert set(load.versions) <= {1, 2}
        assert 'refused"} 4.0' not in running.edge.metrics.text()


def test_bundle_is_verified_once_and_after_each_change(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def note(path: Path) -> Bundle:
        read.append(path)
        return load_bundle(path)

    monkeypatch.setattr("edge_triton.lifecycle.release_folder.load_bundle", note)
    newer, folder = publish(bundle, tmp_path / "2", 2), ReleaseFolder(tmp_path)
    for _ in range(3):
        assert folder.newest(bundle) == (newer, [])
    assert read == [tmp_path / "2"]
    folder.refuse(newer)
    assert folder.newest(bundle) == (bundle, [])
    (tmp_path / "2" / "stylizer.onnx").write_bytes(b"no model")
    found, (reason,) = folder.newest(bundle)
    assert found == bundle
    assert "stylizer.onnx" in reason
    assert len(read) == 2


def test_release_key_must_be_valid_and_needs_a_folder(tmp_path: Path) -> None:
    (tmp_path / "no.pub").write_text("nothing")
    for key in (tmp_path / "no.pub", tmp_path / "missing.pub"):
        with pytest.raises(SignatureError, match=key.name):
            EdgeOptions(watch=tmp_path, release_key=key).check()
    with pytest.raises(EdgeConfigError, match="needs a folder of releases"):
        EdgeOptions(release_key=tmp_path / "no.pub").check()


def test_watched_folder_must_exist(tmp_path: Path) -> None:
    with pytest.raises(EdgeConfigError, match="nothing"):
        EdgeOptions(watch=tmp_path / "nothing").check()
