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
from typing import Annotated

import typer
import typer.core

from mvstylizer.errors import MVStylizerError, need_extra
from mvstylizer_cli import bench as benchmarks
from mvstylizer_cli import bench_edge, federate
from mvstylizer_cli.console import BundleOption, JsonOption, bundle_folder, finish
from mvstylizer_cli.export import EXPORT_EXAMPLES, export
from mvstylizer_cli.lut import LUT_EXAMPLES, lut
from mvstylizer_cli.serve import SERVE_EXAMPLES, serve
from mvstylizer_cli.stylize import STYLIZE_EXAMPLES, stylize
from mvstylizer_cli.stylizers import open_stylizer
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


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error comes from, as MVSTYLIZER_DEBUG=1 does.")
    ] = False,
) -> None:
    """Take the options of every command."""
    if debug:
        os.environ[DEBUG] = "1"


app.command(epilog=STYLIZE_EXAMPLES)(stylize)
app.command(epilog=LUT_EXAMPLES)(lut)
app.command(epilog=TRAIN_EXAMPLES)(train)
app.command(epilog=EXPORT_EXAMPLES)(export)
app.command(epilog=SERVE_EXAMPLES)(serve)


@app.command(
    epilog="\b\nExamples:\n  mvstylizer studio\n  mvstylizer studio --port 9000 --edge 192.168.1.20:8001"
)
def studio(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on loopback; 0 takes a free one.")] = 8765,
    edge: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Edge server. Left away: the bundled Triton is started."),
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="No server: run the model in this process.")] = False,
    bundle: BundleOption = None,
    max_upload: Annotated[int, typer.Option(min=1, metavar="MB", help="Largest file taken.")] = 2000,
    browse: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Serve a local page for stylizing and comparing, until Ctrl-C; what it was given is removed then."""
    need_extra("studio", "starlette", "uvicorn")
    import webbrowser

    from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
    from mvstylizer.bundle import load_bundle
    from studio.serve import listening, serve
    from studio.workbench import MEGABYTE, Engine

    if edge and local:
        raise typer.BadParameter("--edge and --local exclude each other", param_hint="--local")

    def ready(url: str) -> None:
        typer.echo(f"Studio on {url} (Ctrl-C stops)", err=True)
        if browse:
            webbrowser.open(url)

    model = load_bundle(bundle_folder(bundle))
    name = "in this process" if local else f"edge {edge}" if edge else "bundled Triton"
    with listening(port) as door, open_stylizer(edge, local, model) as stylizer:
        engine = Engine(stylizer, model, name, fallback=None if local else lambda: OnnxStylizer(model))
        serve(door, engine, max_upload=max_upload * MEGABYTE, on_ready=ready)


@app.command(epilog="\b\nExample:\n  mvstylizer doctor --json")
def doctor(as_json: JsonOption = False) -> None:
    """Check this machine for everything that the kit needs, and show how to fix what is missing."""
    from mvstylizer_cli.doctor import examine

    findings = examine()
    ready = all(finding.verdict != "missing" for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.verdict:8}{finding.name:16}{finding.found}")
        if finding.fix:
            lines.append(f"{'':24}fix: {finding.fix}")
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
