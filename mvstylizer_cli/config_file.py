"""The configuration file: defaults of `stylize` and `lut`, and named profiles, in TOML.

    [stylize]
    local = true

    [profiles.dusk]
    style = "styles/dusk.jpg"
    strength = 0.7

The command line wins over the profile, and the profile over the defaults.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from mvstylizer.errors import MVStylizerError

VARIABLE = "MVSTYLIZER_CONFIG"
COMMANDS = ("stylize", "lut")
PROFILES = "profiles"
NOT_IN_FILES = {"help", "profile", "config", "out"}  # options that a file cannot set

Values = dict[str, Any]


class ConfigError(MVStylizerError):
    """Error raised for a configuration file that cannot be read, or a key or profile that does not exist."""


class ConfigFile:
    """A configuration file, checked when it is read.

    Args:
        path: The file; None = the user's, which may be missing.
        known: Names of the options of each command, with dashes.

    Raises:
        ConfigError: The file cannot be read, is not TOML, or has an unknown key.
    """

    def __init__(self, path: Path | None, known: Mapping[str, Collection[str]]) -> None:
        self.path = path or default_path()
        content = _read(self.path, optional=path is None and VARIABLE not in os.environ)
        self._known = known
        self._defaults = {name: self._table(content, name) for name in COMMANDS}
        self._profiles = self._table(content, PROFILES)
        for name in content:
            if name not in (*COMMANDS, PROFILES):
                raise self._unknown(f"table [{name}]", name, [*COMMANDS, PROFILES])
        for command, table in self._defaults.items():
            self._check(f"[{command}]", table, known[command])
        every = {key for keys in known.values() for key in keys}
        for name in self._profiles:
            self._check(f"[{PROFILES}.{name}]", self._table(self._profiles, name, f"{PROFILES}."), every)

    @property
    def profiles(self) -> list[str]:
        """Names of the profiles."""
        return list(self._profiles)

    def values(self, command: str, profile: str | None) -> Values:
        """Return the values of a command's options, by name with dashes: defaults, then the profile's.

        Raises:
            ConfigError: There is no such profile.
        """
        found = _dashed(self._defaults[command])
        if profile is not None:
            if profile not in self._profiles:
                raise self._unknown(f"profile {profile!r}", profile, self.profiles)
            found |= _dashed(self._profiles[profile])
        return {key: value for key, value in found.items() if key in self._known[command]}

    def _table(self, content: Values, name: str, prefix: str = "") -> Values:
        table = content.get(name, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{self.path}: {prefix}{name} is not a table", f"Write [{prefix}{name}]")
        return table

    def _check(self, where: str, table: Values, known: Collection[str]) -> None:
        for key in table:
            if key.replace("_", "-") not in known:
                raise self._unknown(f"key {key!r} in {where}", key, known)

    def _unknown(self, what: str, name: str, known: Collection[str]) -> ConfigError:
        nearest = difflib.get_close_matches(name.replace("_", "-"), known, n=1, cutoff=0.5)
        listed = ", ".join(sorted(known)) or "none"
        hint = f"Did you mean {nearest[0]!r}?" if nearest else f"Choose one of: {listed}"
        return ConfigError(f"{self.path}: there is no {what}", hint)


def default_path() -> Path:
    """Return the path of the user's file: $MVSTYLIZER_CONFIG, or config.toml in the user's folder."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "mvstylizer" / "config.toml"


def option_names(command: click.Command) -> dict[str, click.Parameter]:
    """Return the options of a command that a file can set, by long name without dashes in front."""
    found = {}
    for parameter in command.params:
        for name in parameter.opts:
            if name.startswith("--") and name[2:] not in NOT_IN_FILES:
                found[name[2:]] = parameter
    return found


def parameter_values(values: Values, options: Mapping[str, click.Parameter], folder: Path) -> Values:
    """Turn a file's values into defaults of click's parameters; paths are relative to the file's folder."""
    return dict(_parameter_values(values, options, folder))


def _parameter_values(
    values: Values, options: Mapping[str, click.Parameter], folder: Path
) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        parameter = options[key]
        items = value if isinstance(value, list) else [value]
        if not items:
            continue
        if isinstance(parameter.type, click.Path):
            items = [folder / Path(str(item)).expanduser() for item in items]
        assert parameter.name is not None
        if parameter.multiple:  # type: ignore[attr-defined]
            yield parameter.name, [str(item) for item in items]
        elif isinstance(value, list):
            yield parameter.name, ",".join(map(str, items))
        else:
            yield parameter.name, items[0] if isinstance(items[0], bool) else str(items[0])


def _read(path: Path, *, optional: bool) -> Values:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if optional:
            return {}
        raise ConfigError(f"There is no configuration file {path}", "Check the path") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})", "Check the path") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise ConfigError(f"{path} is not a TOML file ({error})", "Correct the file") from error


def _dashed(table: Values) -> Values:
    return {key.replace("_", "-"): value for key, value in table.items()}
