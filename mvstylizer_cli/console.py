"""What the commands share: options, progress, and how a result is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

BundleOption = Annotated[
    Path | None, typer.Option("--bundle", metavar="DIR", help="Model bundle; the shipped one if left away.")
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", help="Print exactly one JSON object on stdout; everything else goes to stderr."),
]


def bundle_folder(bundle: Path | None, variant: str = "mvstylizer") -> Path:
    """Return the folder of the bundle given, or of the one that ships with the kit."""
    from mvstylizer.bundle import default_bundle

    return bundle or default_bundle(variant)


def finish(result: dict[str, Any], text: str, as_json: bool) -> None:
    """Print a command's result: one JSON object, or a few lines for people."""
    typer.echo(json.dumps(result) if as_json else text)


def warn(warnings: list[str]) -> None:
    """Print warnings on stderr, a line each."""
    for warning in warnings:
        typer.echo(f"Warning: {warning}", err=True)


class Show:
    """A progress bar on a terminal, a line every ten per cent elsewhere; both on stderr."""

    def __init__(self, what: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
        )  # fmt: skip
        self._what = what
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
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

    def __enter__(self) -> Show:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
