"""Model releases on a running edge, under load: promoted, refused, rolled back."""

from __future__ import annotations

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
from mvstylizer.bundle import Bundle, BundleError, load_bundle, write_manifest
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
