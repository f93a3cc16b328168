"""Model releases on a running edge, under load: promoted, refused, rolled back."""

from __future__ import annotations

import json
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton

from edge_triton.client.client import EdgeClient, EdgeRefusedError
from edge_triton.edge import Edge, EdgeConfigError, EdgeOptions
from edge_triton.lifecycle.release_folder import WatchedFolder
from fl.release import seal
from fl.signing import make_keys
from mvstylizer.bundle import Bundle, BundleError, file_spec, load_bundle, sha256_of, write_manifest
from mvstylizer.release import Release, ReleaseError
from mvstylizer.signature import SignatureError

pytestmark = pytest.mark.server

StartEdge = Callable[..., Any]
Kin = Callable[[str], set[psutil.Process]]
GREY = np.full((32, 32, 3), 100, np.uint8)
CODE = np.array([0.2, 0.5, 0.8], np.float32)


def publish(bundle: Bundle, folder: Path, version: int) -> Bundle:
    """Write the bundle again as another version: beside, then renamed."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.copytree(bundle.path, part)
    write_manifest(replace(load_bundle(part), version=version))
    part.rename(folder)
    return load_bundle(folder)


def spoil(bundle: Bundle, content: bytes) -> Bundle:
    """Replace the stylizer by something else; the manifest vouches for it."""
    (bundle.path / "stylizer.onnx").write_bytes(content)
    specs = [file_spec(bundle.path, s.role, s.path, s.inputs, s.outputs) for s in bundle.files]
    write_manifest(replace(bundle, files=tuple(specs)))
    return load_bundle(bundle.path)


class Load:
    """Clients that ask without pause, never retry, and note which version answered."""

    def __init__(self, address: str, clients: int = 2) -> None:
        self.address = address
        self.versions: list[int] = []
        self.failures: list[Exception] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        self.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()
        self._over.set()
        for thread in self._threads:
            thread.join()

    def wait(self, more: int = 10) -> None:
        target = len(self.versions) + more
        while len(self.versions) < target and not self.failures:
            time.sleep(0.01)

    def _run(self) -> None:
        with triton.InferenceServerClient(self.address) as client:
            while not self._over.is_set() and not self.failures:
                try:
                    self.versions.append(ask(client))
                except Exception as err:
                    self.failures.append(err)


def ask(client: triton.InferenceServerClient) -> int:
    """Stylize, and return the version that did."""
    tensors = []
    for name, kind, value in (
        ("frame", "UINT8", GREY[None]),
        ("style_code", "FP32", CODE[None]),
        ("r", "FP32", np.ones(1, np.float32)),
    ):
        tensors.append(triton.InferInput(name, list(value.shape), kind))
        tensors[-1].set_data_from_numpy(value)
    result = client.infer("stylizer", tensors, client_timeout=120)
    np.testing.assert_array_equal(result.as_numpy("stylized")[0, 0, 0], np.rint(50 + CODE * 127.5))
    return int(result.get_response().model_version)


async def rolled_back(edge: Edge, version: int) -> None:
    edge.releases.roll_back(version)


def test_swaps_and_rollback_under_load_lose_no_request(
    start_edge: StartEdge, bundle: Bundle, tmp_path: Path
) -> None:
    with start_edge(bundle) as running:
        with Load(running.edge.address) as load:
            for version in (2, 3):
                running.call(running.edge.releases.promote(publish(bundle, tmp_path / str(version), version)))
                load.wait()
            running.call(rolled_back(running.edge, 2))
            with triton.InferenceServerClient(running.edge.address) as client:
                # One that was under way may still be answered by version 3, even after this one.
                assert ask(client) == 2
        assert load.failures == []
        assert set(load.versions) == {1, 2, 3}
        with EdgeClient(running.edge.address, model_version="3", patience_s=0) as client:
            assert client.stylize(GREY, CODE).image is not None  # still loaded
        with (
            EdgeClient(running.edge.address, model_version="1", patience_s=0) as client,
            pytest.raises(EdgeRefusedError, match="no such model version"),
        ):
            client.stylize(GREY, CODE)
        with pytest.raises(ReleaseError, match="Version 1 is not loaded"):
            running.edge.releases.roll_back(1)
        metrics = running.edge.metrics.text()
        assert 'mvstylizer_releases_total{event="promoted"} 2' in metrics
        assert "mvstylizer_model_version 2" in metrics
        assert "restarts_total" not in metrics


def other_contract(bundle: Bundle) -> Bundle:
    specs = [replace(s, inputs=tuple(replace(t, name=f"{t.name}_2") for t in s.inputs)) for s in bundle.files]
    write_manifest(replace(bundle, files=tuple(specs)))
    return load_bundle(bundle.path)


def flipped_byte(bundle: Bundle) -> Bundle:
    path = bundle.path / "stylizer.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return bundle


def truncated(bundle: Bundle) -> Bundle:
    return spoil(bundle, (bundle.path / "stylizer.onnx").read_bytes()[:-100])


def other_model(bundle: Bundle) -> Bundle:
    """A model that loads, and whose inputs are not what its manifest says."""
    return spoil(bundle, (bundle.path / "style_encoder.onnx").read_bytes())


@pytest.mark.parametrize(
    ("harm", "error"),
    [
        (flipped_byte, BundleError),
        (truncated, ReleaseError),
        (other_model, ReleaseError),
        (other_contract, ReleaseError),
    ],
)
def test_bad_releases_are_refused_and_nothing_changes(
    start_edge: StartEdge,
    bundle: Bundle,
    tmp_path: Path,
    harm: Callable[[Bundle], Bundle],
    error: type[Exception],
) -> None:
    with start_edge(bundle) as running:
        running.call(running.edge.releases.promote(publish(bundle, tmp_path / "2", 2)))
        bad = harm(publish(bundle, tmp_path / "3", 3))
        with Load(running.edge.address) as load, pytest.raises(error):
            running.call(running.edge.releases.promote(bad))
        assert load.failures == []
        assert set(load.versions) == {2}
        for version in ("1", "2"):
            with EdgeClient(running.edge.address, model_version=version, patience_s=0) as client:
                assert client.stylize(GREY, CODE).image is not None
        running.call(running.edge.releases.promote(publish(bundle, tmp_path / "4", 4)))
        with triton.InferenceServerClient(running.edge.address) as plain:
            assert ask(plain) == 4
        assert "restarts_total" not in running.edge.metrics.text()


def wait_for_restart(running: Any) -> None:
    running.until(lambda: "restarts_total" in running.edge.metrics.text())
    running.until(lambda: facts(running)["status"] == "serving")


def facts(running: Any) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"http://{running.edge.health_address}/healthz", timeout=60) as reply:
            return dict(json.loads(reply.read()))
    except urllib.error.HTTPError as err:
        return dict(json.loads(err.read()))


@pytest.mark.parametrize("taken_away", [False, True])
def test_a_restart_serves_what_was_served(
    start_edge: StartEdge, bundle: Bundle, tmp_path: Path, kin: Kin, taken_away: bool
) -> None:
    before = kin("tritonserver")
    with start_edge(bundle) as running:
        newer = publish(bundle, tmp_path / "2", 2)
        running.call(running.edge.releases.promote(newer))
        if taken_away:
            shutil.rmtree(newer.path)
        for process in kin("tritonserver") - before:
            process.kill()
        wait_for_restart(running)
        seen = facts(running)
        expected = (1, [1]) if taken_away else (2, [1, 2])
        assert (seen["version"], seen["resident"]) == expected
        with triton.InferenceServerClient(running.edge.address) as plain:
            assert ask(plain) == expected[0]


def test_a_watched_folder_decides_what_is_served(
    start_edge: StartEdge, bundle: Bundle, tmp_path: Path
) -> None:
    def wait_for(version: int) -> None:
        running.until(lambda: facts(running)["version"] == version)

    watched = tmp_path / "releases"
    watched.mkdir()
    with start_edge(bundle, watch=watched) as running, Load(running.edge.address) as load:
        publish(bundle, watched / "2", 2)
        wait_for(2)
        load.wait()
        bad = spoil(publish(bundle, tmp_path / "bad", 3), b"no model")
        bad.path.rename(watched / "3")
        (watched / "nonsense").mkdir()
        (watched / "nonsense" / "model.json").write_text("{")
        running.until(lambda: 'event="refused"' in running.edge.metrics.text())
        shutil.rmtree(watched / "3")
        publish(bundle, watched / "3", 3)  # mended
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


def test_only_signed_releases_are_served_where_a_key_is_given(
    start_edge: StartEdge, bundle: Bundle, tmp_path: Path
) -> None:
    cloud, thief, watched = tmp_path / "cloud", tmp_path / "thief", tmp_path / "releases"
    for key in (cloud, thief):
        make_keys(key, key.with_suffix(".pub"))
    watched.mkdir()
    with start_edge(bundle, watch=watched, release_key=cloud.with_suffix(".pub")) as running:
        with Load(running.edge.address) as load:
            publish(bundle, watched / "5", 5)  # not signed
            sign(publish(bundle, tmp_path / "4", 4), thief).path.rename(watched / "4")
            replayed = sign(publish(bundle, tmp_path / "3", 3), cloud)
            write_manifest(replace(replayed, version=9))  # under the signature of version 3
            replayed.path.rename(watched / "3")
            refused = 'mvstylizer_releases_total{event="refused"} 3'
            running.until(lambda: refused in running.edge.metrics.text())
            sign(publish(bundle, tmp_path / "2", 2), cloud).path.rename(watched / "2")
            running.until(lambda: facts(running)["version"] == 2)
        assert load.failures == []
        assert set(load.versions) <= {1, 2}
        assert 'refused"} 4' not in running.edge.metrics.text()


def test_a_bundle_is_verified_once_and_again_when_it_changes(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def note(path: Path) -> Bundle:
        read.append(path)
        return load_bundle(path)

    monkeypatch.setattr("edge_triton.lifecycle.release_folder.load_bundle", note)
    newer, folder = publish(bundle, tmp_path / "2", 2), WatchedFolder(tmp_path)
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


def test_a_release_key_must_be_one_and_needs_a_folder(tmp_path: Path) -> None:
    (tmp_path / "no.pub").write_text("nothing")
    for key in (tmp_path / "no.pub", tmp_path / "missing.pub"):
        with pytest.raises(SignatureError, match=key.name):
            EdgeOptions(watch=tmp_path, release_key=key).check()
    with pytest.raises(EdgeConfigError, match="needs a folder of releases"):
        EdgeOptions(release_key=tmp_path / "no.pub").check()


def test_watched_folder_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(EdgeConfigError, match="nothing"):
        EdgeOptions(watch=tmp_path / "nothing").check()


def test_a_style_survives_the_swap_of_its_encoder(
    start_edge: StartEdge, bundle: Bundle, bundle_maker: Callable[..., Bundle], tmp_path: Path
) -> None:
    photo = np.full((8, 8, 3), (255, 102, 0), np.uint8)
    with start_edge(bundle) as running, EdgeClient(running.edge.address) as client:
        code = client.encode_style(photo)
        np.testing.assert_allclose(code, [1, 0.4, 0], rtol=1e-6)
        np.testing.assert_array_equal(color(client, code), [178, 101, 50])
        # The next version gives the same photo a code half as long: half as much of the style.
        running.call(running.edge.releases.promote(bundle_maker(tmp_path / "2", 2, 0.5)))
        for _ in range(2):
            np.testing.assert_array_equal(color(client, code), [114, 76, 50])
        new_code = client.encode_style(photo)
        np.testing.assert_array_equal(new_code, code / 2)
        np.testing.assert_array_equal(color(client, new_code), [114, 76, 50])
        # A code that no photo is known for is taken as it is.
        np.testing.assert_array_equal(color(client, np.ones(3, np.float32)), [178, 178, 178])
        running.loop.call_soon_threadsafe(running.edge.releases.roll_back, 1)
        running.until(lambda: facts(running)["version"] == 1)
        np.testing.assert_array_equal(color(client, new_code), [178, 101, 50])


def color(client: EdgeClient, code: np.ndarray) -> np.ndarray:
    image = client.stylize(GREY, code).image
    assert image is not None
    assert (image == image[0, 0]).all()
    return np.asarray(image[0, 0])
