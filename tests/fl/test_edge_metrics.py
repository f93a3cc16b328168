from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from fl.edge_metrics import INSIDE, read_gauge, wait_until_idle, wait_until_served


class Gateway(http.server.ThreadingHTTPServer):
    """Replies with one text after another; the last one is repeated."""

    texts: list[str]
    late_s = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/metrics"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Gateway

    def do_GET(self) -> None:
        time.sleep(self.server.late_s)
        text = self.server.texts.pop(0) if len(self.server.texts) > 1 else self.server.texts[0]
        self.send_response(200)
        self.end_headers()
        with suppress(BrokenPipeError):  # the client timed out
            self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    server = Gateway(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_gauge_is_summed_over_its_labels(gateway: Gateway) -> None:
    gateway.texts = [
        "# TYPE mvstylizer_requests_inside gauge\n"
        'mvstylizer_requests_inside{model="stylizer"} 2\nmvstylizer_requests_inside 1\n'
        "mvstylizer_requests_inside_total 50\nmvstylizer_up 1\n"
    ]
    assert read_gauge(gateway.url, INSIDE) == 3


def test_training_resumes_after_the_last_request(gateway: Gateway) -> None:
    gateway.texts = [f"mvstylizer_requests_inside {count}\n" for count in (2, 1, 0)]
    wait_until_idle(gateway.url)
    assert len(gateway.texts) == 1


def test_a_gateway_that_times_out_is_busy(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fl.edge_metrics.TIMEOUT_S", 0.2)
    gateway.late_s = 0.6
    gateway.texts = ["mvstylizer_requests_inside 0\n"]
    over = threading.Event()

    def wait() -> None:
        wait_until_idle(gateway.url)
        over.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not over.wait(1.5)
    gateway.late_s = 0.0
    monkeypatch.setattr("fl.edge_metrics.TIMEOUT_S", 60.0)
    thread.join(120)
    assert over.is_set()


def test_an_edge_without_a_gateway_is_idle(gateway: Gateway) -> None:
    wait_until_idle("")
    gateway.texts = [""]
    assert read_gauge(gateway.url, INSIDE) is None
    url = gateway.url
    gateway.shutdown()
    gateway.server_close()
    wait_until_idle(url)


def test_waiting_for_a_version_ends_when_it_is_served_or_times_out(gateway: Gateway) -> None:
    gateway.texts = [f"mvstylizer_model_version {version}\n" for version in (2, 2, 3)]
    assert wait_until_served(gateway.url, 3, timeout_s=120)
    assert not wait_until_served(gateway.url, 4, timeout_s=1)
