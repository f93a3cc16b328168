"""Command-line options that the bundled and the official tritonserver share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def common_options(
    repository: Path, models: Sequence[str], *, port: int, metrics_port: int, server_id: str
) -> list[str]:
    """Return options for gRPC and metrics on loopback, no HTTP, and the named models.

    Args:
        repository: Model repository.
        models: Names of the models to load; the server exits if one fails.
        port: gRPC port.
        metrics_port: HTTP port of the Prometheus metrics; 0 = none.
        server_id: Name that the server reports, so that a client can tell it from others.
    """
    return [
        f"--id={server_id}",
        f"--model-repository={repository}",
        "--grpc-address=127.0.0.1",
        f"--grpc-port={port}",
        "--allow-http=false",
        *(_metrics_options(metrics_port) if metrics_port else ["--allow-metrics=false"]),
        "--model-control-mode=explicit",
        *(f"--load-model={name}" for name in models),
        # Ready means that the server answers; only an inference shows whether a model does.
        "--strict-readiness=false",
        "--disable-auto-complete-config",
        "--log-info=false",
    ]


def _metrics_options(port: int) -> list[str]:
    return [
        "--metrics-address=127.0.0.1",
        f"--metrics-port={port}",
        "--metrics-config=summary_latencies=true",
        "--metrics-config=summary_quantiles=0.5:0.05,0.95:0.005,0.99:0.001",
    ]
