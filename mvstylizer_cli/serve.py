"""``mvstylizer serve``: an edge in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mvstylizer_cli.console import BundleOption, bundle_folder

SERVE_EXAMPLES = """\b
Examples:
  mvstylizer serve --install
  mvstylizer serve --port 8001
  mvstylizer serve --host 0.0.0.0 --tls-cert edge.crt --tls-key edge.key --token-file tokens.txt
  mvstylizer serve --watch releases/ --release-key join/release.pub
"""


def serve(
    bundle: BundleOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="gRPC port; 0 picks a free one.")] = 8001,
    health: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Address of /healthz and /metrics. [default: 127.0.0.1 and the gRPC port + 1]",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Number of stylizer instances.")] = 1,
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Threads of each instance. [default: cores / workers]"),
    ] = None,
    max_requests: Annotated[
        int,
        typer.Option(min=1, max=1024, help="Concurrent requests; more are refused, and clients retry."),
    ] = 16,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificate chain (PEM); enables TLS.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Private key of the certificate (PEM).")
    ] = None,
    client_ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Authority (PEM) of client certificates; clients must present one."
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Bearer tokens, one NAME TOKEN per line; reloaded on change."),
    ] = None,
    spool: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Store images for retraining, of clients that allow it."),
    ] = None,
    watch: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of bundles: serve the highest usable version, switching without losing a request.",
        ),
    ] = None,
    release_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Public key (PEM): serve only watched bundles with a valid signature."
        ),
    ] = None,
    tensorrt: Annotated[
        bool,
        typer.Option(
            "--tensorrt", help="In NVIDIA's container: build TensorRT engines, which takes minutes."
        ),
    ] = False,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Allow a public address without TLS or tokens.")
    ] = False,
    json_log: Annotated[
        bool,
        typer.Option(
            "--json-log", help="Log on stderr as JSON lines, one for each request too, with its trace."
        ),
    ] = False,
    install: Annotated[
        bool, typer.Option("--install", help="Install the bundled Triton for this user, then exit.")
    ] = False,
) -> None:
    """Serve the stylizer to phones until Ctrl-C or SIGTERM: a gateway, and Triton on loopback."""
    if install:
        from edge_triton.triton.install import install_server

        install_server()
        return
    from edge_triton.edge import EdgeOptions
    from edge_triton.gateway.guard import Limits
    from edge_triton.log import EdgeLog
    from edge_triton.serve import serve as run

    options = EdgeOptions(
        host=host,
        port=port,
        workers=workers,
        threads=threads,
        limits=Limits(max_requests=max_requests, max_requests_per_client=max(1, max_requests // 2)),
        tls_cert=tls_cert,
        tls_key=tls_key,
        client_ca=client_ca,
        token_file=token_file,
        spool=spool,
        watch=watch,
        release_key=release_key,
        tensorrt=tensorrt,
        insecure=insecure,
    )
    log = EdgeLog(as_json=json_log)
    log.start()
    try:
        run(
            bundle_folder(bundle),
            options.with_health(health),
            on_ready=lambda edge: log.say(
                f"Serving on {edge.address}, health on {edge.health_address} (Ctrl-C stops)"
            ),
        )
    finally:
        log.close()
