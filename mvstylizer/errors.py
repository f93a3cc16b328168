"""The one error the user can mend: what went wrong, and what to do about it, in one line.

Every folder raises a subclass; the command line prints the line and exits with 1. Standard library only,
so that the phone side and the server side can both import it.
"""

from __future__ import annotations

from importlib.util import find_spec


class MVStylizerError(Exception):
    """Something the user can mend.

    Args:
        message: What is wrong, naming the file, address or value.
        hint: What to do, as an imperative sentence without a full stop at its start.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """One line: ``message. hint``."""
        line = " ".join(self.message.split())
        return f"{line.rstrip('.')}. {self.hint}" if self.hint else line


class MissingExtraError(MVStylizerError):
    """A command needs packages that the default install leaves out."""

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(
            f"This command needs {package}, which is not installed",
            f"Run: pip install 'mvstylizer[{extra}]'",
        )


def need_extra(extra: str, *packages: str) -> None:
    """Say which extra to install when one of its packages is missing.

    Raises:
        MissingExtraError: One is.
    """
    for package in packages:
        if find_spec(package) is None:
            raise MissingExtraError(extra, package)
