"""``mvstylizer serve``: options reach the edge unchanged."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from edge_triton.gateway.guard import Limits
from edge_triton.options import EdgeOptions
from mvstylizer_cli.main import app


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, EdgeOptions]]:
    """Bundles and options that the command passes on."""
    calls = []

    def serve(bundle: Path, options: EdgeOptions, *, on_ready: Any) -> None:
        calls.append((bundle, options))
        on_ready(SimpleNamespace(address="127.0.0.1:9000", health_address="127.0.0.1:9001"))

    monkeypatch.setattr("edge_triton.serve.serve", serve)
    return calls


def test_defaults_listen_on_loopback(
    served: list[tuple[Path, EdgeOptions]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    result = CliRunner().invoke(app, ["serve", "--bundle", str(tmp_path)])
    assert result.exit_code == 0
    assert capfd.readouterr().err == "Serving on 127.0.0.1:9000, health on 127.0.0.1:9001 (Ctrl-C stops)\n"
    assert served == [(tmp_path, EdgeOptions(health_port=8002))]


def test_every_option_reaches_the_edge(served: list[tuple[Path, EdgeOptions]], tmp_path: Path) -> None:
    files = ["--tls-cert", "--tls-key", "--client-ca", "--token-file", "--spool", "--watch", "--release-key"]
    argv = ["serve", "--bundle", str(tmp_path), "--host", "::", "--port", "0", "--health", "[::1]:9"]
    argv += ["--workers", "3", "--threads", "5", "--max-requests", "9", "--tensorrt", "--insecure"]
    argv += [part for option in files for part in (option, f"{option[2:]}.x")]
    result = CliRunner().invoke(app, argv)
    assert result.exit_code == 0, result.output
    paths = {option[2:].replace("-", "_"): Path(f"{option[2:]}.x") for option in files}
    expected = EdgeOptions(
        host="::",
        port=0,
        health_host="::1",
        health_port=9,
        workers=3,
        threads=5,
        limits=Limits(max_requests=9, max_requests_per_client=4),
        tensorrt=True,
        insecure=True,
        **paths,  # type: ignore[arg-type]
    )
    assert served == [(tmp_path, expected)]


def test_install_only_installs_the_server(
    monkeypatch: pytest.MonkeyPatch, served: list[tuple[Path, EdgeOptions]]
) -> None:
    installed: list[bool] = []
    monkeypatch.setattr("edge_triton.triton.install.install_server", lambda: installed.append(True))
    result = CliRunner().invoke(app, ["serve", "--install"])
    assert result.exit_code == 0
    assert (installed, served) == ([True], [])
