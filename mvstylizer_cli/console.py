"""Shared by all commands: common options, progress, and printing of results."""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from mvstylizer.errors import printable

BundleOption = Annotated[
    Path | None,
    typer.Option("--bundle", metavar="DIR", help="Model bundle. [default: the bundled model]"),
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", help="Print exactly one JSON object on stdout; everything else goes to stderr."),
]


def bundle_folder(bundle: Path | None, variant: str = "mvstylizer") -> Path:
    """Return the given bundle's folder; defaults to the bundled model of a variant."""
    from mvstylizer.bundle import default_bundle

    return bundle or default_bundle(variant)


def finish(result: dict[str, Any], text: str, as_json: bool) -> None:
    """Print a command's result, either as one JSON object or as text."""
    typer.echo(json.dumps(result) if as_json else text)


def warn(warnings: list[str]) -> None:
    """Print warnings on stderr, one per line."""
    for warning in warnings:
        typer.echo(f"Warning: {printable(warning)}", err=True)


class PrintableFormatter(logging.Formatter):
    """Formats log records as one line each, without control characters; tracebacks follow as they are."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (the base class's name)
        """Return the message of a record."""
        return printable(record.message)


@contextmanager
def native_output_hidden() -> Iterator[None]:
    """Keep what libraries written in C print (banners, delegate logs) off stderr; Python's stderr stays.

    If anything but an error with a hint ends the block, what they printed follows, since it may explain it.
    """
    from mvstylizer.errors import MVStylizerError

    sys.stderr.flush()
    real, python = os.dup(2), sys.stderr
    with tempfile.TemporaryFile() as log, os.fdopen(os.dup(real), "w", buffering=1) as stderr:
        os.dup2(log.fileno(), 2)
        sys.stderr = stderr
        try:
            yield
        except Exception as error:
            if not isinstance(error, MVStylizerError):
                log.seek(0)
                stderr.write(log.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(real, 2)
            os.close(real)
            sys.stderr = python


class Show:
    """Progress on stderr: a bar on a terminal, otherwise a line every ten percent."""

    def __init__(self, what: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self._what = what
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(what, total=None, note="")
        self._tenth = 0

    def __call__(self, done: int, total: int | None, note: str = "") -> None:
        """Show that `done` of `total` (None: unknown) are done."""
        self._bar.update(self._task, completed=done, total=total, note=note)
        tenth = 10 * done // total if total else done // 100
        if self._bar.disable and tenth > self._tenth:
            self._tenth = tenth
            of_all = f" of {total}" if total else ""
            typer.echo(f"{self._what}: {done}{of_all}  {note}".rstrip(), err=True)

    def say(self, line: str) -> None:
        """Print a line on stderr, above the bar if there is one."""
        if self._bar.disable:
            typer.echo(line, err=True)
        else:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Show:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
