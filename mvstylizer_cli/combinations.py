"""Options of ``mvstylizer stylize`` that exclude each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import typer

SEVERAL: Final = "several files"
EXCLUSIVE: Final = (
    ("--edge-output image", "--interpolation transfer", "--protect skin"),
    ("--live", "--dry-run", "--resume", "--input-lut", "--interpolation warp", "--flow-init codec"),
    ("--preview", "--live", "--dry-run", "--resume", "--mask", "--style-mask"),
    (SEVERAL, "--live", "--dry-run", "--preview", "--mask", "--style-mask"),
)
"""An option, and those that it cannot be combined with."""


def check_combinations(options: Mapping[str, bool]) -> None:
    """Check that no two options exclude each other.

    Args:
        options: Whether each of the names in `EXCLUSIVE` applies; missing ones do not.

    Raises:
        typer.BadParameter: Two of them do.
    """
    for option, *others in EXCLUSIVE:
        if options.get(option) and any(options.get(other) for other in others):
            listed = " or ".join([", ".join(others[:-1]), others[-1]] if len(others) > 1 else others)
            raise typer.BadParameter(f"cannot be combined with {listed}", param_hint=option)
