"""The NGINX lines of docs/edge.md, with the NGINX of Debian 12 in front of two real edges with TLS."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_triton.client.client import EdgeClient, Tls
from edge_triton.triton.ports import free_port
from mvstylizer.bundle import Bundle
from tests.edge_triton.pems import Pems
from tests.edge_triton.running_edge import CODE, GRAY

pytestmark = [pytest.mark.server, pytest.mark.long]
StartEdge = Callable[..., Any]
DOCS = Path(__file__).parents[2] / "docs" / "edge.md"
TOKEN = "0123456789abcdef-phone"


@pytest.fixture(scope="module")
def nginx() -> str:
    found = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "nginx"]
        for command in (["apt-get", "update", "-qq"], install):
            subprocess.run(command, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, timeout=600)
        found = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    if found is None:
        pytest.skip("this test needs NGINX: apt-get install nginx")
    return found


def documented(edges: list[str], port: int, pems: Pems) -> str:
    """Return the configuration of the docs, with this test's addresses and files."""
    (block,) = re.findall(r"```nginx\n(.*?)```", DOCS.read_text(), re.DOTALL)
    replaced = {
        "10.0.0.11:8001": edges[0],
        "10.0.0.12:8001": edges[1],
        "listen 8001 ": f"listen 127.0.0.1:{port} ",
        "ssl_certificate edge.crt": f"ssl_certificate {pems.cert}",
        "ssl_certificate_key edge.key": f"ssl_certificate_key {pems.key}",
    }
    for old, new in replaced.items():
        assert old in block
        block = block.replace(old, new)
    return block


@pytest.fixture
def balanced(
    nginx: str, start_edge: StartEdge, bundle: Bundle, pems: Pems, tmp_path: Path
) -> Iterator[tuple[str, list[Any]]]:
    """Address of a balancer, and its two edges."""
    (tmp_path / "tokens").write_text(f"phone {TOKEN}\n")
    options = {"tls_cert": pems.cert, "tls_key": pems.key, "token_file": tmp_path / "tokens"}
    with start_edge(bundle, **options) as first, start_edge(bundle, **options) as second:
        port = free_port()
        block = documented([first.edge.address, second.edge.address], port, pems)
        places = "".join(
            f"{kind}_temp_path {tmp_path}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        config = tmp_path / "nginx.conf"
        config.write_text(
            f"daemon off; pid {tmp_path}/pid; error_log stderr;\n"
            + ("user root;\n" if os.geteuid() == 0 else "")
            + f"events {{}}\nhttp {{ access_log off; {places} {block} }}\n"
        )
        checked = subprocess.run([nginx, "-t", "-c", config], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr
        assert "warn" not in checked.stderr
        process = subprocess.Popen([nginx, "-c", config])
        try:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except ConnectionRefusedError:
                    assert process.poll() is None
            yield f"127.0.0.1:{port}", [first, second]
        finally:
            process.terminate()
            process.wait(60)


def test_requests_are_balanced_and_survive_a_dead_edge(balanced: tuple[str, list[Any]], pems: Pems) -> None:
    address, edges = balanced
    with EdgeClient(address, tls=Tls(pems.ca), token=TOKEN, patience_s=60) as client:
        for _ in range(40):
            assert client.stylize(GRAY, CODE).image is not None
        for each in edges:
            assert 'code="OK",method="ModelInfer",model="stylizer"} 2' in each.edge.metrics.text()
        edges[0].call(edges[0].stop())
        for _ in range(20):
            assert client.stylize(GRAY, CODE).image is not None
