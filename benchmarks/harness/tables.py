"""Format tables as Markdown or aligned text, and figures with few significant digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.harness.registry import Table
from benchmarks.harness.result import median_of

MISSING = "–"


def number(value: float | Mapping[str, Any] | None, *, digits: int = 3, unit: str = "") -> str:
    """Format a figure with a number of significant digits, without exponent; None is "–".

    A figure that was measured several times is shown as its median.
    """
    if value is None:
        return MISSING
    plain = median_of(value)
    if plain == 0 or not 1e-6 < abs(plain) < 1e9:
        text = f"{plain:.{digits}g}"
    else:
        from math import floor, log10

        decimals = max(0, digits - 1 - floor(log10(abs(plain))))
        text = f"{plain:.{decimals}f}"
    return f"{text} {unit}".rstrip()


def span(value: float | Mapping[str, Any] | None, *, digits: int = 3) -> str:
    """Format a figure with its minimum and maximum: ``1.02 (0.98–1.10)``."""
    if not isinstance(value, Mapping) or value["runs"] == 1:
        return number(value, digits=digits)
    low, high = (number(value[end], digits=digits) for end in ("min", "max"))
    return f"{number(value, digits=digits)} ({low}–{high})"


def markdown(table: Table) -> str:
    """Return a table as Markdown, without its title."""
    lines = [_bar(table.header), _bar(["---"] * len(table.header)), *map(_bar, table.rows)]
    return "\n".join([*lines, *(["", table.caption] if table.caption else [])])


def aligned(table: Table) -> str:
    """Return a table as aligned columns under its title."""
    lines = [table.header, *table.rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(table.header))]
    body = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    return "\n".join(
        [table.title, *(line.rstrip() for line in body), *([table.caption] if table.caption else [])]
    )


def _bar(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
