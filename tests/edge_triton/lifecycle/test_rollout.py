"""Model releases on a running edge, under load: promoted, refused, rolled back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton

from edge_triton.client.client import EdgeClient, EdgeRefusedError
from edge_triton.edge import Edge
from mvstylizer.bundle import Bundle, BundleError, load_bundle, sealed, write_manifest
from mvstylizer.release import ReleaseError
from tests.edge_triton.lifecycle.releases import (
    CODE,
    GRAY,
    SteadyTraffic,
    corrupt,
    facts,
    publish,
    served_version,
)

pytestmark = pytest.mark.server
StartEdge = Callable[..., Any]
Descendants = Callable[[str], set[psutil.Process]]


async def rolled_back(edge: Edge, version: int) -> None:
    edge.releases.roll_back(version)


def test_promotion_and_rollback_under_load_lose_no_request(
    start_edge: StartEdge, bundle: Bundle, tmp_path: Path
) -> None:
    with start_edge(bundle) as running:
        with SteadyTraffic(running.edge.address) as load:
            for version in (2, 3):
                running.call(running.edge.releases.promote(publish(bundle, tmp_path / str(version), version)))
                load.wait()
            running.call(rolled_back(running.edge, 2))
            with triton.InferenceServerClient(running.edge.address) as client:
                # A request sent earlier may still be answered by version 3, even after this one.
                assert served_version(client) == 2
        assert load.failures == []
        assert set(load.versions) == {1, 2, 3}
        with EdgeClient(running.edge.address, model_version="3", patience_s=0) as client:
            assert client.stylize(GRAY, CODE).image is not None  # still loaded
        with (
            EdgeClient(running.edge.address, model_version="1", patience_s=0) as client,
            pytest.raises(EdgeRefusedError, match="no such model version"),
        ):
            client.stylize(GRAY, CODE)
        with pytest.raises(ReleaseError, match="Version 1 is not loaded"):
            running.edge.releases.roll_back(1)
        metrics = running.edge.metrics.text()
        assert 'mvstylizer_releases_total{event="promoted"} 2.0' in metrics
        assert "mvstylizer_model_version 2.0" in metrics
        assert "restarts_total{" not in metrics


def other_tensors(bundle: Bundle) -> Bundle:
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
    return corrupt(bundle, (bundle.path / "stylizer.onnx").read_bytes()[:-100])


def other_model(bundle: Bundle) -> Bundle:
    """A model that loads, but with other inputs than its manifest says."""
    return corrupt(bundle, (bundle.path / "style_encoder.onnx").read_bytes())


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (flipped_byte, BundleError),
        (truncated, ReleaseError),
        (other_model, ReleaseError),
        (other_tensors, ReleaseError),
    ],
)
def test_bad_release_is_refused_and_changes_nothing(
    start_edge: StartEdge,
    bundle: Bundle,
    tmp_path: Path,
    damage: Callable[[Bundle], Bundle],
    error: type[Exception],
) -> None:
    with start_edge(bundle) as running:
        running.call(running.edge.releases.promote(publish(bundle, tmp_path / "2", 2)))
        bad = damage(publish(bundle, tmp_path / "3", 3))
        with SteadyTraffic(running.edge.address) as load, pytest.raises(error):
            running.call(running.edge.releases.promote(bad))
        assert load.failures == []
        assert set(load.versions) == {2}
        for version in ("1", "2"):
            with EdgeClient(running.edge.address, model_version=version, patience_s=0) as client:
                assert client.stylize(GRAY, CODE).image is not None
        running.call(running.edge.releases.promote(publish(bundle, tmp_path / "4", 4)))
        with triton.InferenceServerClient(running.edge.address) as plain:
            assert served_version(plain) == 4
        assert "restarts_total{" not in running.edge.metrics.text()


def wait_for_restart(running: Any) -> None:
    running.until(lambda: "restarts_total{" in running.edge.metrics.text())
    running.until(lambda: facts(running)["status"] == "serving")


@pytest.mark.parametrize("is_removed", [False, True])
def test_restart_serves_the_same_version(
    start_edge: StartEdge, bundle: Bundle, tmp_path: Path, descendants: Descendants, is_removed: bool
) -> None:
    before = descendants("tritonserver")
    with start_edge(bundle) as running:
        newer = publish(bundle, tmp_path / "2", 2)
        running.call(running.edge.releases.promote(newer))
        if is_removed:
            shutil.rmtree(newer.path)
        for process in descendants("tritonserver") - before:
            process.kill()
        wait_for_restart(running)
        seen = facts(running)
        expected = (1, [1]) if is_removed else (2, [1, 2])
        assert (seen["version"], seen["resident"]) == expected
        with triton.InferenceServerClient(running.edge.address) as plain:
            assert served_version(plain) == expected[0]


def test_style_code_survives_a_new_encoder(
    start_edge: StartEdge, bundle: Bundle, bundle_maker: Callable[..., Bundle], tmp_path: Path
) -> None:
    photo = np.full((8, 8, 3), (255, 102, 0), np.uint8)
    with start_edge(bundle) as running, EdgeClient(running.edge.address) as client:
        code = client.encode_style(photo)
        np.testing.assert_allclose(code, [1, 0.4, 0], rtol=1e-6)
        np.testing.assert_array_equal(color(client, code), [178, 101, 50])
        # The next version halves the code of the same photo, and thus the strength of the style.
        running.call(running.edge.releases.promote(bundle_maker(tmp_path / "2", 2, 0.5)))
        for _ in range(2):
            np.testing.assert_array_equal(color(client, code), [114, 76, 50])
        new_code = client.encode_style(photo)
        np.testing.assert_array_equal(new_code, code / 2)
        np.testing.assert_array_equal(color(client, new_code), [114, 76, 50])
        # A code of an unknown photo is used as it is.
        np.testing.assert_array_equal(color(client, np.ones(3, np.float32)), [178, 178, 178])
        running.loop.call_soon_threadsafe(running.edge.releases.roll_back, 1)
        running.until(lambda: facts(running)["version"] == 1)
        np.testing.assert_array_equal(color(client, new_code), [178, 101, 50])


def color(client: EdgeClient, code: np.ndarray) -> np.ndarray:
    image = client.stylize(GRAY, code).image
    assert image is not None
    assert (image == image[0, 0]).all()
    return np.asarray(image[0, 0])


MANIFESTS = {
    "nested": b"[" * 200_000,
    "infinite": b'{"schema": "mvstylizer.bundle/2", "version": 1e999}',
    "surrogate": b'{"schema": "\\ud800"}',
    "huge-number": b'{"schema": "mvstylizer.bundle/' + b"9" * 5000 + b'"}',
    "not-utf-8": b"\xff\xfe{}",
    "list": b"[]",
    "large": b" " * (5 << 20),
}
WRONG: dict[str, Callable[[dict[str, Any]], Any]] = {
    "version-text": lambda body: body.update(version="2"),
    "version-true": lambda body: body.update(version=True),
    "version-large": lambda body: body.update(version=10**400),
    "name-list": lambda body: body.update(name=["tiny"]),
    "name-surrogate": lambda body: body.update(name="\ud800"),
    "files-text": lambda body: body.update(files="none"),
    "row-text": lambda body: body["files"].append("none"),
    "path-number": lambda body: body["files"][0].update(path=7),
    "path-zero-byte": lambda body: body["files"][0].update(path="a\0b"),
    "bytes-large": lambda body: body["files"][0].update(bytes=10**400),
    "shape-text": lambda body: body["files"][0]["inputs"][0].update(shape="x"),
    "tensor-name": lambda body: body["files"][0]["inputs"][0].update(name='"}\n'),
    "inputs-number": lambda body: body["files"][0].update(inputs=3),
    "network-number": lambda body: body.update(network=3),
}


def test_a_bad_manifest_is_refused_by_name_and_the_edge_serves_on(
    start_edge: StartEdge, bundle: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "releases"
    folder.mkdir()
    with start_edge(bundle, watch=folder) as running:
        for name, content in MANIFESTS.items():
            (folder / f".{name}").mkdir()
            (folder / f".{name}" / "model.json").write_bytes(content)
            (folder / f".{name}").rename(folder / name)
        for name, change in WRONG.items():
            shutil.copytree(bundle.path, folder / f".{name}")
            manifest = folder / f".{name}" / "model.json"
            body = json.loads(manifest.read_text())
            change(body)
            manifest.write_bytes(sealed(body))
            (folder / f".{name}").rename(folder / name)
        names = [*MANIFESTS, *WRONG]
        running.until(lambda: all(str(folder / name) in caplog.text for name in names), 60)
        publish(bundle, folder / "2", 2)
        running.until(lambda: facts(running)["version"] == 2, 60)
    assert "Traceback" not in caplog.text
