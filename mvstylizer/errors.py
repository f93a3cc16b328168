"""Base class of all errors that the user can fix: one line with the cause and a hint.

Every package raises subclasses; the command line prints the line and exits with 1. This module uses only the
standard library, so phone and server can both import it.
"""

from __future__ import annotations

from importlib.util import find_spec


class MVStylizerError(Exception):
    """An error that the user can fix.

    Attributes:
        message: What is wrong, naming the file, address or value.
        hint: What to do: an imperative sentence without a period at its end; may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Return ``message. hint`` in one line."""
        line = printable(self.message)
        return f"{line.rstrip('.')}. {printable(self.hint)}" if self.hint else line


def printable(text: str, max_chars: int = 1000) -> str:
    """Return text from anywhere as one line without control characters, which a terminal would obey."""
    line = " ".join(text[: 2 * max_chars].split())
    line = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)
    return line if len(line) <= max_chars else f"{line[:max_chars]}…"


class MissingExtraError(MVStylizerError):
    """A command needs packages that the default installation does not include."""

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(
            f"This command needs {package}, which is not installed",
            f"Run: pip install 'mvstylizer[{extra}]'",
        )


def need_extra(extra: str, *packages: str) -> None:
    """Check that the packages of an extra are installed.

    Raises:
        MissingExtraError: One is missing; names the extra.
    """
    for package in packages:
        if find_spec(package) is None:
            raise MissingExtraError(extra, package)
