"""The container's server, as far as it can be tested without the container."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

import edge_triton
from edge_triton.triton.container import OfficialTriton
from edge_triton.triton.model_config import config_text
from edge_triton.triton.model_spec import TensorRt
from edge_triton.triton.repository import bundle_models
from edge_triton.triton.server import ServerStartError, TritonServer
from mvstylizer.bundle import Bundle
from mvstylizer_cli import main as cli

FOLDER = Path(edge_triton.__file__).parent / "container"


@pytest.fixture(params=["--allow-client-shm <boolean>", ""])
def container(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[OfficialTriton, bool]:
    """A folder like the container's, with a newer or older server."""
    triton = OfficialTriton(tmp_path)
    assert not triton.is_installed()
    triton.server.parent.mkdir()
    triton.server.write_text(f"#!/bin/sh\necho 'Usage: tritonserver {request.param}'\nexit 1\n")
    triton.server.chmod(0o755)
    assert not triton.is_installed()
    (tmp_path / "backends" / "onnxruntime").mkdir(parents=True)
    assert triton.is_installed()
    return triton, bool(request.param)


def test_command_line(container: tuple[OfficialTriton, bool], tmp_path: Path) -> None:
    triton, is_new = container
    argv = triton.command(
        tmp_path, tmp_path / "r", ["a", "b"], port=1, metrics_port=2, server_id="x", prefix="p"
    )
    assert argv[0] == str(triton.server)
    assert {"--grpc-address=127.0.0.1", "--metrics-address=127.0.0.1", "--allow-http=false"} <= set(argv)
    assert {"--load-model=a", "--load-model=b", "--model-control-mode=explicit"} <= set(argv)
    assert ("--allow-client-shm=true" in argv) == is_new
    assert not any("python" in option for option in argv)


def test_container_uses_the_native_backend(
    container: tuple[OfficialTriton, bool], bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    triton, _ = container
    monkeypatch.setattr("edge_triton.triton.server.OfficialTriton", lambda: triton)
    server = TritonServer(bundle.path, workers=2)
    for spec in server.specs(bundle, (1, 2)):
        assert spec.backend == "onnxruntime"
        assert spec.resident == (1, 2)
        assert spec.warm_up == ((1080, 1920),)
        assert spec.tensorrt is None
    assert not server.has_lost_a_stub([1])
    for spec in TritonServer(bundle.path, tensorrt=TensorRt()).specs(bundle, (1,)):
        assert "trt_profile_opt_shapes" in config_text(spec)


def test_bundled_server_rejects_tensorrt(bundle: Bundle) -> None:
    with pytest.raises(ServerStartError, match="no TensorRT"):
        TritonServer(bundle.path, tensorrt=TensorRt()).start()


def test_config_of_two_resident_versions(bundle: Bundle) -> None:
    for spec in bundle_models(bundle, backend="onnxruntime", resident=(1, 2)):
        config = text_format.Parse(config_text(spec), model_config_pb2.ModelConfig())
        assert list(config.version_policy.specific.versions) == [1, 2]


def serve_options() -> set[str]:
    command: Any = typer.main.get_command(cli.app)
    return {option for parameter in command.commands["serve"].params for option in parameter.opts}


def test_compose_file_uses_existing_options() -> None:
    edge = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]["edge"]
    named = {option.partition("=")[0] for option in edge["command"]}
    assert {"--tls-cert", "--tls-key", "--token-file", "--watch", "--release-key", "--spool"} == named
    assert named <= serve_options()
    assert (
        FOLDER / edge["build"]["context"] / edge["build"]["dockerfile"]
    ).resolve() == FOLDER / "Dockerfile"
    assert "127.0.0.1:8002:8002" in edge["ports"]


def test_dockerfile_starts_serve_and_checks_healthz() -> None:
    text = (FOLDER / "Dockerfile").read_text()
    (entry,) = [line for line in text.splitlines() if line.startswith("ENTRYPOINT")]
    argv = yaml.safe_load(entry.removeprefix("ENTRYPOINT"))
    assert argv[:2] == ["mvstylizer", "serve"]
    assert {option for option in argv if option.startswith("--")} <= serve_options()
    assert "HEALTHCHECK" in text
    assert "/healthz" in text
    assert "nvcr.io/nvidia/tritonserver:${TRITON}-py3" in text
