"""The command line: registers every command and turns errors into exit codes.

Commands import heavy modules inside their functions, so ``--help`` is fast. Exit codes: 0 done, 1 an error
that the user can fix (one line on stderr), 2 wrong usage, 130 after Ctrl-C, 143 after SIGTERM.
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

from mvstylizer.errors import MVStylizerError
from mvstylizer_cli import bench as benchmarks
from mvstylizer_cli import federate
from mvstylizer_cli.configured import configured
from mvstylizer_cli.console import JsonOption, finish
from mvstylizer_cli.export import EXPORT_EXAMPLES, export
from mvstylizer_cli.lut import LUT_EXAMPLES, lut
from mvstylizer_cli.serve import SERVE_EXAMPLES, serve
from mvstylizer_cli.studio import STUDIO_EXAMPLES, studio
from mvstylizer_cli.stylize import STYLIZE_COMMAND, STYLIZE_EXAMPLES, stylize
from mvstylizer_cli.train import TRAIN_EXAMPLES, train

# Plain help takes half the time and keeps the line breaks of the examples. Without this switch, Typer escapes
# brackets for rich even when rich does not print them.
typer.core.HAS_RICH = False

app = typer.Typer(
    name="mvstylizer",
    help="Edge-assisted photorealistic video style transfer.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(federate.app)
app.add_typer(benchmarks.app)

DEBUG = "MVSTYLIZER_DEBUG"
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error, like MVSTYLIZER_DEBUG=1.")
    ] = False,
) -> None:
    """Handle options that apply to every command."""
    if debug:
        os.environ[DEBUG] = "1"


app.command(cls=configured(STYLIZE_COMMAND), epilog=STYLIZE_EXAMPLES)(stylize)
app.command(cls=configured(), epilog=LUT_EXAMPLES)(lut)
app.command(epilog=TRAIN_EXAMPLES)(train)
app.command(epilog=EXPORT_EXAMPLES)(export)
app.command(epilog=SERVE_EXAMPLES)(serve)


app.command(epilog=STUDIO_EXAMPLES)(studio)


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
    report = {
        "schema_version": 2,
        "ready": ready,
        "findings": [finding.as_dict() for finding in findings],
    }
    finish(report, "\n".join(lines), as_json)
    if not ready:
        raise typer.Exit(1)


class _TerminatedError(BaseException):
    """Raised on SIGTERM: unwinds like Ctrl-C, so that files and servers are cleaned up."""


def _terminate(*_: object) -> None:
    raise _TerminatedError


def _kept() -> str:
    return "run it again to continue" if "--resume" in sys.argv else "no partial results were kept"


def main() -> None:
    """Run the command line and exit."""
    import click

    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is imported
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = app(standalone_mode=False) or 0
        if code == INTERRUPTED:  # Typer turns Ctrl-C into this exit code without a message
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
