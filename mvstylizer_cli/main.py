"""MVStylizer's command line: train, export, serve, stylize.

Heavy imports stand inside the commands, so that ``--help`` answers at once. Exit codes: 0 done, 1 something
the user can mend (one line on stderr says what), 2 wrong usage, 130 and 143 ended by Ctrl-C and SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer
import typer.core

from mvstylizer.errors import MVStylizerError
from mvstylizer_cli import bench as benchmarks
from mvstylizer_cli import bench_edge, federate
from mvstylizer_cli.console import BundleOption, JsonOption, bundle_folder, finish
from mvstylizer_cli.export import EXPORT_EXAMPLES, export
from mvstylizer_cli.lut import LUT_EXAMPLES, lut
from mvstylizer_cli.studio import STUDIO_EXAMPLES, studio
from mvstylizer_cli.stylize import STYLIZE_COMMAND, STYLIZE_EXAMPLES, stylize
from mvstylizer_cli.train import TRAIN_EXAMPLES, train

# Plain help answers in half the time and keeps the examples' lines. Without the switch Typer escapes
# brackets for rich even where rich does not print them.
typer.core.HAS_RICH = False

app = typer.Typer(
    name="mvstylizer",
    help="Edge-assisted photorealistic video style transfer.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(federate.app)
bench_edge.add_to(benchmarks.app)
app.add_typer(benchmarks.app)

DEBUG = "MVSTYLIZER_DEBUG"
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
SERVE_EXAMPLES = """\b
Examples:
  mvstylizer serve --port 8001
  mvstylizer serve --host 0.0.0.0 --tls-cert edge.crt --tls-key edge.key --token-file tokens.txt
  mvstylizer serve --watch releases/ --release-key join/release.pub
"""


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error comes from, as MVSTYLIZER_DEBUG=1 does.")
    ] = False,
) -> None:
    """Take the options of every command."""
    if debug:
        os.environ[DEBUG] = "1"


app.command(cls=STYLIZE_COMMAND, epilog=STYLIZE_EXAMPLES)(stylize)
app.command(epilog=LUT_EXAMPLES)(lut)
app.command(epilog=TRAIN_EXAMPLES)(train)
app.command(epilog=EXPORT_EXAMPLES)(export)


@app.command(epilog=SERVE_EXAMPLES)
def serve(
    bundle: BundleOption = None,
    host: Annotated[str, typer.Option(help="Address that phones reach.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="gRPC port; 0 takes a free one.")] = 8001,
    health: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Where /healthz and /metrics are. [default: 127.0.0.1 and the gRPC port + 1]",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Stylizer instances.")] = 1,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificate chain (PEM); phones then speak TLS.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its private key (PEM).")] = None,
    client_ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Who signs phones' certificates (PEM); they must show one then."),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Bearer tokens, one NAME TOKEN a line; read again on change."),
    ] = None,
    spool: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep frames and styles for retraining, of phones that allow it."),
    ] = None,
    watch: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of bundles: serve the highest good version in it, swapping without a lost request.",
        ),
    ] = None,
    release_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Public key (PEM): of the watched bundles serve only those that its owner has signed.",
        ),
    ] = None,
    tensorrt: Annotated[
        bool,
        typer.Option("--tensorrt", help="In NVIDIA's container: build TensorRT engines, minutes each start."),
    ] = False,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Face a network without TLS or tokens all the same.")
    ] = False,
) -> None:
    """Serve the stylizer to phones until Ctrl-C or SIGTERM: a gateway, and Triton behind it on loopback."""
    from edge_triton.edge import EdgeOptions
    from edge_triton.serve import serve as run

    options = EdgeOptions(
        host, port, workers=workers, tls_cert=tls_cert, tls_key=tls_key, client_ca=client_ca,
        token_file=token_file, spool=spool, watch=watch, release_key=release_key, tensorrt=tensorrt,
        insecure=insecure,
    ).with_health(health)  # fmt: skip
    run(
        bundle_folder(bundle),
        options,
        on_ready=lambda edge: typer.echo(
            f"Serving on {edge.address}, health on {edge.health_address} (Ctrl-C stops)", err=True
        ),
    )


app.command(epilog=STUDIO_EXAMPLES)(studio)


@app.command(epilog="\b\nExample:\n  mvstylizer doctor --json")
def doctor(as_json: JsonOption = False) -> None:
    """Look at what this machine has of what the kit needs, and say how to mend what is missing."""
    from mvstylizer_cli.doctor import examine

    findings = examine()
    ready = all(finding.verdict != "missing" for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.verdict:8}{finding.name:16}{finding.found}")
        if finding.mend:
            lines.append(f"{'':24}mend: {finding.mend}")
    finish(
        {"ready": ready, "findings": [finding.as_dict() for finding in findings]}, "\n".join(lines), as_json
    )
    if not ready:
        raise typer.Exit(1)


class _TerminatedError(BaseException):
    """SIGTERM: unwinds like Ctrl-C does, so that files and servers are cleaned up."""


def _terminate(*_: object) -> None:
    raise _TerminatedError


def _kept() -> str:
    return "run it again to go on" if "--resume" in sys.argv else "nothing unfinished was kept"


def main() -> None:
    """Run the command line and exit."""
    import click

    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is imported
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = app(standalone_mode=False) or 0
        if code == INTERRUPTED:  # Typer turns Ctrl-C into this exit code and says nothing
            typer.echo(f"mvstylizer: interrupted, {_kept()}", err=True)
        sys.exit(code)
    except click.UsageError as err:
        err.show()
        sys.exit(2)
    except MVStylizerError as err:
        if os.environ.get(DEBUG):
            traceback.print_exc()
        if "--json" in sys.argv:
            typer.echo(json.dumps({"error": err.message, "hint": err.hint}))
        typer.echo(f"mvstylizer: {err}", err=True)
        sys.exit(1)
    except _TerminatedError:
        typer.echo(f"mvstylizer: terminated, {_kept()}", err=True)
        sys.exit(TERMINATED)


if __name__ == "__main__":
    main()
