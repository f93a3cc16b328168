"""The command line: registers every command and turns errors into exit codes.

Commands import heavy modules inside their functions, so ``--help`` is fast. Exit codes: 0 done, 1 an error
that the user can fix (one line on stderr), 2 wrong usage, 130 after Ctrl-C, 143 after SIGTERM, 129 after
SIGHUP (a closed terminal).
"""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import signal
import sys
import traceback
from contextlib import suppress
from typing import Annotated, NoReturn

import typer
import typer.core

from mvstylizer.errors import MVStylizerError
from mvstylizer.signals import stop_signals
from mvstylizer_cli import bench as benchmarks
from mvstylizer_cli import device, federate
from mvstylizer_cli.configured import configured
from mvstylizer_cli.console import JsonOption, PrintableFormatter, finish
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
app.add_typer(device.app)

DEBUG = "MVSTYLIZER_DEBUG"
_NO_MEMORY = ("insufficient memory", "cannot allocate memory", "bad_alloc", "can't start new thread")
INTERRUPTED = 128 + signal.SIGINT


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
    """Raised on SIGTERM and SIGHUP: unwinds like Ctrl-C, so that files and servers are cleaned up."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number


def _terminate(number: int, _: object) -> None:
    raise _TerminatedError(number)


def _handle_signals() -> None:
    for number in set(stop_signals()) - {signal.SIGINT}:
        signal.signal(number, _terminate)


def _print_anything() -> None:
    """Let a file name that is not valid text be printed with escapes instead of raising an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _failed(message: str, hint: str = "") -> NoReturn:
    """Print an error on stderr, with ``--json`` also on stdout, and exit."""
    error = MVStylizerError(message, hint)
    if os.environ.get(DEBUG):
        traceback.print_exc()
    if "--json" in sys.argv:
        with suppress(OSError):
            typer.echo(json.dumps({"error": error.message, "hint": error.hint}))
    with suppress(OSError):
        typer.echo(f"mvstylizer: {error}", err=True)
    sys.exit(1)


def _is_out_of_memory(error: Exception) -> bool:
    """Return whether a library reports a failed allocation: Python, NumPy, FFmpeg, OpenCV or the loader."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    text = str(error).lower()
    return any(words in text for words in _NO_MEMORY)


def _is_from_printing(error: Exception) -> bool:
    """Return whether an error was raised while a result was printed; if so, print nothing more on stdout."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    if any(frame.f_globals.get("__name__") == "click.utils" for frame in frames):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return True
    return False


def _kept() -> str:
    return "run it again to continue" if "--resume" in sys.argv else "no partial results were kept"


def main() -> None:
    """Run the command line and exit."""
    import click

    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is imported
    _handle_signals()
    _print_anything()
    if logging.lastResort is not None:  # whatever a log line quotes, a terminal must not obey it
        logging.lastResort.setFormatter(PrintableFormatter())
    try:
        code = app(standalone_mode=False) or 0
        if code == INTERRUPTED:  # Typer turns Ctrl-C into this exit code without a message
            typer.echo(f"mvstylizer: interrupted, {_kept()}", err=True)
        sys.exit(code)
    except click.UsageError as err:
        err.show()
        sys.exit(2)
    except MVStylizerError as err:
        _failed(err.message, err.hint)
    except _TerminatedError as err:
        with suppress(OSError):  # the terminal may be gone
            typer.echo(f"mvstylizer: terminated, {_kept()}", err=True)
        sys.exit(err.code)
    except Exception as err:
        if isinstance(err, OSError) and _is_from_printing(err):
            _failed(f"Standard output cannot be written ({err.strerror})", "Check where it is redirected to")
        if _is_out_of_memory(err):
            _failed("There is not enough memory", "Close other programs or raise the memory limit")
        raise


if __name__ == "__main__":
    main()
