"""The figures of README and docs, written from the kept results: nobody copies a number by hand.

A block stands between ``<!-- bench:NAME/K -->`` and ``<!-- /bench -->``: table K (from 0) of that bench's
result; without ``/K``, all its tables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.harness.registry import bench
from benchmarks.harness.result import read
from benchmarks.harness.tables import markdown
from mvstylizer.errors import MVStylizerError

BLOCK: Final = re.compile(r"(<!-- bench:([a-z0-9_]+)(?:/(\d+))? -->\n).*?(<!-- /bench -->)", re.DOTALL)


class ReadmeError(MVStylizerError):
    """The file cannot be read or written, or sample for a table that is not there."""


def rewritten(text: str, results: Path) -> str:
    """Return a Markdown text with every block filled from ``results/NAME.json``.

    Args:
        text: With blocks.
        results: Folder of the results; a bench without one is said to be not measured yet.

    Raises:
        UnknownBenchError: A block names no bench.
        ResultError: A result cannot be read.
        ReadmeError: A block sample for a table that the bench does not have.
    """

    def block(found: re.Match[str]) -> str:
        opening, name, place, closing = found.groups()
        return f"{opening}{_body(name, place, results)}\n{closing}"

    return BLOCK.sub(block, text)


def provenance(document: Mapping[str, Any]) -> str:
    """Return on what, when and at which commit a result was measured, in one line."""
    about = document["metadata"]
    commit = (about["commit"] or "no commit")[:9] + (" with changes" if about["changed"] else "")
    effort = ", quick settings" if about["quick"] else ""
    return f"{about['machine']['cpu']}, {about['threads']} threads, {about['date'][:10]}, {commit}{effort}"


def _body(name: str, place: str | None, results: Path) -> str:
    module = bench(name).load()
    path = results / f"{name}.json"
    if not path.is_file():
        return f"Not measured yet: `mvstylizer bench {name}`."
    document = read(path)
    tables = module.tables(document)
    if place is not None:
        if int(place) >= len(tables):
            raise ReadmeError(f"{name} has {len(tables)} tables, not one numbered {place}", "Mend the marker")
        tables = [tables[int(place)]]
    parts = [f"**{table.title}**\n\n{markdown(table)}" for table in tables]
    return "\n\n".join(parts) + (" " if tables[-1].caption else "\n\n") + f"*{provenance(document)}*"
