"""Old option names, accepted for one more release with a one-line deprecation warning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import click
import typer
from typer.core import TyperCommand

NOTHING: Mapping[tuple[str, str], str] = {}


def renaming(
    options: Mapping[str, str], values: Mapping[tuple[str, str], str] = NOTHING
) -> type[TyperCommand]:
    """Return a command class that accepts old names of options and of their values.

    Args:
        options: Old option → new option, both with their dashes.
        values: (new option, old value) → new value.

    Example:
        >>> app.command(cls=renaming({"--steady": "--temporal-smoothing"}))(stylize)
    """

    class Renaming(TyperCommand):
        def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
            return super().parse_args(ctx, list(_renamed(args, options, values)))

    return Renaming


def _renamed(
    args: list[str], options: Mapping[str, str], values: Mapping[tuple[str, str], str]
) -> Iterator[str]:
    option = ""
    for position, arg in enumerate(args):
        if arg == "--":
            yield from args[position:]
            return
        name, equals, value = arg.partition("=")
        if arg.startswith("--"):
            option = options.get(name, name)
            if option != name:
                _warn(name, option)
            yield option + equals + (_new_value(option, value, values) if equals else "")
        else:
            yield _new_value(option, arg, values)
            option = ""


def _new_value(option: str, value: str, values: Mapping[tuple[str, str], str]) -> str:
    new = values.get((option, value), value)
    if new != value:
        _warn(f"{option} {value}", f"{option} {new}")
    return new


def _warn(old: str, new: str) -> None:
    typer.echo(f"mvstylizer: {old} is deprecated, use {new}", err=True)
