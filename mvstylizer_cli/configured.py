"""Commands that take defaults from the configuration file: ``--config`` and ``--profile``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import click
import typer
from typer.core import TyperCommand

# Of these only one may be given: the command line's drops the file's.
EXCLUSIVE = ({"edge", "local"},)


def _profiles(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a profile."""
    from mvstylizer.errors import MVStylizerError
    from mvstylizer_cli.config_file import ConfigFile

    try:
        profiles = ConfigFile(None, _known(ctx)).profiles
    except MVStylizerError:
        return []
    return [name for name in profiles if name.startswith(incomplete)]


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE.toml",
        help="Defaults and profiles. [default: ~/.config/mvstylizer/config.toml]",
    ),
]
ProfileOption = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME",
        help="Named set of options from the configuration file; the command line wins.",
        autocompletion=_profiles,
    ),
]


def configured(base: type[TyperCommand] = TyperCommand) -> type[TyperCommand]:
    """Return a command class whose options default to the configuration file's.

    The command declares `ConfigOption` and `ProfileOption`, which are read before the others.

    Args:
        base: The class to extend.
    """

    class Configured(base):  # type: ignore[misc, valid-type]
        def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
            asks_for_help = any(name in args for name in ctx.help_option_names)
            if not asks_for_help and not ctx.resilient_parsing:
                ctx.default_map = {**(ctx.default_map or {}), **_defaults(self, ctx, args)}
            return super().parse_args(ctx, args)  # type: ignore[no-any-return]

    return Configured


def _defaults(command: click.Command, ctx: click.Context, args: list[str]) -> dict[str, Any]:
    """Return the file's values for a command line."""
    from mvstylizer_cli.config_file import ConfigFile, option_names, parameter_values

    given = _given(args)
    config = given.get("config")
    file = ConfigFile(Path(config) if config else None, _known(ctx))
    values = file.values(command.name or "", given.get("profile"))
    for group in EXCLUSIVE:
        if group & given.keys():
            values = {key: value for key, value in values.items() if key not in group}
    return parameter_values(values, option_names(command), file.path.parent)


def _known(ctx: click.Context) -> dict[str, set[str]]:
    """Return the names of the options of every command that the file can set."""
    from mvstylizer_cli.config_file import COMMANDS, option_names

    root = ctx.find_root().command
    commands = root.commands if isinstance(root, click.Group) else {ctx.command.name: ctx.command}
    return {name: set(option_names(commands[name])) if name in commands else set() for name in COMMANDS}


def _given(args: list[str]) -> dict[str, str]:
    """Return the long options of a command line with their values, or the next word for those without."""
    found = {}
    for word, following in zip(args, [*args[1:], ""], strict=True):
        if word == "--":
            break
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            found[name] = value if equals else following
    return found
