"""Dead servers and dead stubs under traffic."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
import pytest

from edge_triton.client.client import EdgeClient, EdgeUnavailableError
from edge_triton.triton.bundled import BundledTriton
from edge_triton.triton.startup_errors import ServerDiedError
from mvstylizer.bundle import Bundle, BundleError
from tests.edge_triton.running_edge import http_get, stylizes

pytestmark = pytest.mark.server
StartEdge = Callable[..., Any]
Descendants = Callable[[str], set[psutil.Process]]
GRAY = np.full((8, 8, 3), 100, np.uint8)
CODE = np.array([0.2, 0.5, 0.8], np.float32)


class Traffic:
    """A client that sends requests without pause, and retries."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.done = 0
        self.failures: list[Exception] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Traffic:
        self._thread.start()
        self.wait_for(3)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def wait_for(self, more: int) -> None:
        """Wait for this many more frames, or for a failure."""
        target = self.done + more
        while self.done < target and not self.failures:
            time.sleep(0.01)

    def _run(self) -> None:
        frame = np.tile(GRAY, (40, 40, 1))
        with EdgeClient(self.address, patience_s=240, timeout_s=120) as client:
            while not self._over.is_set() and not self.failures:
                try:
                    image = client.stylize(frame, CODE).image
                    assert image is not None
                    assert image.shape == frame.shape
                    self.done += 1
                except Exception as err:
                    self.failures.append(err)


@pytest.mark.parametrize("process_name", ["tritonserver", "triton_python"])
def test_recovery_from_a_dead_process_loses_no_frame(
    start_edge: StartEdge, bundle: Bundle, descendants: Descendants, process_name: str
) -> None:
    before = descendants(process_name)
    with start_edge(bundle) as running:
        with Traffic(running.edge.address) as traffic:
            for process in descendants(process_name) - before:
                process.kill()
            traffic.wait_for(20)
        assert traffic.failures == []
        metrics = running.edge.metrics.text()
        assert "mvstylizer_restarts_total{" in metrics
        assert http_get(running.edge, "/healthz")[0] == 200


def test_idle_edge_recovers_without_a_request(
    start_edge: StartEdge, bundle: Bundle, descendants: Descendants
) -> None:
    before = descendants("triton_python")
    with start_edge(bundle) as running:
        (victim, *_) = descendants("triton_python") - before
        victim.kill()
        running.until(lambda: "restarts_total{" in running.edge.metrics.text())
        running.until(lambda: http_get(running.edge, "/healthz")[0] == 200)
        assert stylizes(running.edge.address)


def test_crash_loop_ends_and_healthz_reports_it(
    start_edge: StartEdge, bundle: Bundle, descendants: Descendants, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_triton.lifecycle.supervisor._MAX_PAUSE_S", 0.1)
    before = descendants("tritonserver")
    with start_edge(bundle) as running:
        monkeypatch.setattr(BundledTriton, "command", lambda *_, **__: ["false"])
        for process in descendants("tritonserver") - before:
            process.kill()
        while not running.watch.done():
            time.sleep(0.05)
        with pytest.raises(ServerDiedError, match="more than 5 times"):
            running.watch.result()
        with pytest.raises(EdgeUnavailableError):
            stylizes(running.edge.address)
        assert http_get(running.edge, "/healthz")[0] == 503


def test_error_names_a_bundle_damaged_while_served(
    start_edge: StartEdge, new_bundle: Bundle, descendants: Descendants
) -> None:
    before = descendants("tritonserver")
    with start_edge(new_bundle) as running:
        (new_bundle.path / "stylizer.onnx").write_bytes(b"no model")
        for process in descendants("tritonserver") - before:
            process.kill()
        while not running.watch.done():
            time.sleep(0.05)
        with pytest.raises(BundleError, match=r"stylizer\.onnx"):
            running.watch.result()
