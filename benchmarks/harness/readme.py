"""Fill the result tables of README and docs from stored results, so that no number is copied by hand.

A block is delimited by ``<!-- bench:NAME/K -->`` and ``<!-- /bench -->`` and contains table K (from 0) of the
result; without ``/K``, it contains all tables. The block ``summary`` is made from all results.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.harness.registry import bench
from benchmarks.harness.result import read
from benchmarks.harness.summary import summary
from benchmarks.harness.tables import markdown
from mvstylizer.errors import MVStylizerError

SUMMARY: Final = "summary"
BLOCK: Final = re.compile(r"(<!-- bench:([a-z0-9_]+)(?:/(\d+))? -->\n).*?(<!-- /bench -->)", re.DOTALL)


class ReadmeError(MVStylizerError):
    """The file cannot be read or written, or a block refers to a missing table."""


def rewritten(text: str, results: Path) -> str:
    """Return Markdown with every block filled from ``results/NAME.json``.

    Args:
        text: Markdown with blocks.
        results: Folder of the results; a missing result is shown as not measured yet.

    Raises:
        UnknownBenchError: A block names an unknown benchmark.
        ResultError: A result cannot be read.
        ReadmeError: A block refers to a missing table.
    """

    def block(found: re.Match[str]) -> str:
        opening, name, place, closing = found.groups()
        return f"{opening}{_body(name, place, results)}\n{closing}"

    return BLOCK.sub(block, text)


def provenance(document: Mapping[str, Any]) -> str:
    """Return the machine, date and commit of a result in one line."""
    about = document["metadata"]
    commit = (about["commit"] or "no commit")[:9] + (" with local changes" if about["changed"] else "")
    settings = ", quick settings" if about["quick"] else ""
    return f"{about['machine']['cpu']}, {about['threads']} threads, {about['date'][:10]}, {commit}{settings}"


def _body(name: str, place: str | None, results: Path) -> str:
    if name == SUMMARY:
        return markdown(summary(results))
    module = bench(name).load()
    path = results / f"{name}.json"
    if not path.is_file():
        return f"Not measured yet: `mvstylizer bench {name}`."
    document = read(path)
    tables = module.tables(document)
    if place is not None:
        if int(place) >= len(tables):
            raise ReadmeError(
                f"{name} has {len(tables)} tables, so there is no table {place}",
                "Fix the number in the block",
            )
        tables = [tables[int(place)]]
    parts = [f"**{table.title}**\n\n{markdown(table)}" for table in tables]
    return "\n\n".join(parts) + (" " if tables[-1].caption else "\n\n") + f"*{provenance(document)}*"
