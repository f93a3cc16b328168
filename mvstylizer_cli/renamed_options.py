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
    rest = iter(enumerate(args))
    for position, arg in rest:
        if arg == "--":
            yield from args[position:]
            return
        name, equals, value = arg.partition("=")
        option = options.get(name, name)
        following = args[position + 1] if not equals and position + 1 < len(args) else ""
        new = values.get((option, value or following))
        if new is not None:
            _warn(f"{name} {value or following}", f"{option} {new}")
        elif option != name:
            _warn(name, option)
        if new is None or equals:
            yield option + equals + (value if new is None else new)
            continue
        yield from (option, new)
        next(rest)  # the old value


def _warn(old: str, new: str) -> None:
    typer.echo(f"mvstylizer: {old} is deprecated, use {new}", err=True)
