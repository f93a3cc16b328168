"""The whole edge: ports, health, metrics, and an orderly end."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_triton.client.client import EdgeClient, EdgeRefusedError, EdgeUnavailableError
from edge_triton.edge import Edge
from edge_triton.triton.ports import free_port
from edge_triton.triton.startup_errors import PortTakenError
from mvstylizer.bundle import Bundle
from tests.edge_triton.running_edge import http_get, stylizes

pytestmark = pytest.mark.server
StartEdge = Callable[..., Any]
GRAY = np.full((8, 8, 3), 100, np.uint8)
CODE = np.array([0.2, 0.5, 0.8], np.float32)


def test_error_names_a_taken_port(start_edge: StartEdge, bundle: Bundle, edge: Edge) -> None:
    for name, address in {"port": edge.address, "health_port": edge.health_address}.items():
        port = int(address.rpartition(":")[2])
        with pytest.raises(PortTakenError, match=f"Port {port}"), start_edge(bundle, **{name: port}):
            pass


def test_health_and_metrics(start_edge: StartEdge, bundle: Bundle) -> None:
    with start_edge(bundle) as running:
        edge = running.edge
        status, text = http_get(edge, "/healthz")
        assert status == 200
        assert {"status": "serving", "version": 1}.items() <= json.loads(text).items()
        assert http_get(edge, "/healthz", "HEAD") == (200, "")
        assert http_get(edge, "/etc/passwd")[0] == 404
        assert http_get(edge, "/healthz", "POST")[0] == 405
        assert stylizes(edge.address)
        with pytest.raises(EdgeRefusedError), EdgeClient(edge.address) as client:
            client.stylize(GRAY, CODE, r=-1)
        lines = http_get(edge, "/metrics")[1].splitlines()
        names = {"method": "ModelInfer", "model": "stylizer"}
        labels = ",".join(f'{key}="{value}"' for key, value in names.items())
        assert f'mvstylizer_requests_total{{code="OK",{labels}}} 1.0' in lines
        assert f'mvstylizer_requests_total{{code="INVALID_ARGUMENT",{labels}}} 1.0' in lines
        assert 'mvstylizer_request_seconds_count{model="stylizer"} 1.0' in lines
        assert "mvstylizer_up 1.0" in lines
        assert any(line.startswith('nv_inference_request_success{model="stylizer"') for line in lines)


def test_health_server_survives_garbage(edge: Edge) -> None:
    host, _, port = edge.health_address.rpartition(":")
    for data in (b"\r\n\r\n", b"\0" * 100_000, b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 5000):
        with socket.create_connection((host, int(port))) as connection:
            connection.settimeout(120)
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass
            except ConnectionError:
                pass
    assert http_get(edge, "/healthz")[0] == 200


DRAIN = """
serve(bundle, EdgeOptions(port=0),
      on_ready=lambda edge: print(edge.address, edge.health_address, flush=True))
"""


def admitted(health: str) -> float:
    """Return how many requests are running or were answered."""
    with urllib.request.urlopen(f"http://{health}/metrics", timeout=60) as reply:
        lines = reply.read().decode().splitlines()
    counted = ("mvstylizer_requests_inside", "mvstylizer_requests_total")
    return sum(float(line.split()[-1]) for line in lines if line.startswith(counted))


def test_sigterm_answers_running_requests(victim: Callable[[str], Any]) -> None:
    program = victim(DRAIN)
    address, health = program.address.split()
    answers: list[bool] = []
    frames = [np.zeros((400, 3000 + n, 3), np.uint8) for n in range(4)]

    def stylize(frame: np.ndarray) -> None:
        with EdgeClient(address, patience_s=0, timeout_s=120) as client:
            image = client.stylize(frame, CODE).image
            answers.append(image is not None and image.shape == frame.shape)

    threads = [threading.Thread(target=stylize, args=(frame,)) for frame in frames]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 120
    while admitted(health) < len(frames):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert program.end(signal.SIGTERM) == 0
    for thread in threads:
        thread.join()
    assert answers == [True] * len(frames)
    assert program.traces() == []


def test_the_limit_of_open_files_is_raised() -> None:
    code = (
        "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (256, r.getrlimit(r.RLIMIT_NOFILE)[1]));"
        "from edge_triton.serve import raise_file_limit; raise_file_limit();"
        "soft, hard = r.getrlimit(r.RLIMIT_NOFILE); assert soft == hard > 256"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.long
@pytest.mark.parametrize("output", ["full", "stuck"])
def test_an_output_that_takes_no_line_does_not_end_or_delay_the_edge(bundle: Bundle, output: str) -> None:
    port, health = free_port(), free_port()
    command = [sys.executable, "-m", "mvstylizer_cli", "serve", "--bundle", str(bundle.path), "--json-log"]
    command += ["--port", str(port), "--health", f"127.0.0.1:{health}"]
    with open("/dev/full", "w") as full:
        stderr = full.fileno() if output == "full" else subprocess.PIPE
        process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=stderr)
    try:
        with EdgeClient(f"127.0.0.1:{port}", patience_s=120) as client:
            for _ in range(400):  # 100 kB of log; a pipe holds 64
                try:
                    client.server_info()
                except EdgeUnavailableError:  # the rate limit
                    time.sleep(0.1)
            assert client.stylize(GRAY, CODE).image is not None
        with urllib.request.urlopen(f"http://127.0.0.1:{health}/healthz", timeout=60) as reply:
            assert reply.status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()
