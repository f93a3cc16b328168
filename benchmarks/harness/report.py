"""The report: all stored results on one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any, Final

from benchmarks.harness.media import data_url
from benchmarks.harness.plot import Plot, svg
from benchmarks.harness.readme import provenance
from benchmarks.harness.registry import BENCHES, Bench, Table
from benchmarks.harness.result import ResultError, read
from benchmarks.harness.side_by_side import SideBySide, section
from benchmarks.harness.summary import summary

PAGE: Final = Path(__file__).with_name("report_page.html")
SHEETS: Final = {"quality": "contact_sheet.png"}  # picture next to the result, by benchmark


@dataclass(frozen=True)
class Film:
    """Two clips of equal length for the before/after slider, and their credit line."""

    before: Path
    after: Path
    credit: str


def page(results: Path, film: Film | None = None, clips: Sequence[SideBySide] = ()) -> str:
    """Return the report as HTML.

    Args:
        results: Folder of the results; missing results are omitted.
        film: Clips shown at the top with a before/after slider.
        clips: Clips shown in four ways, below it.

    Raises:
        ResultError: There are no results, or one cannot be read.
    """
    documents = {b: read(path) for b in BENCHES if (path := results / f"{b.name}.json").is_file()}
    if not documents:
        raise ResultError(f"{results} contains no results", "Run: mvstylizer bench all --quick")
    return Template(PAGE.read_text()).substitute(
        about=_about(list(documents.values())),
        contents="\n".join(f'<a href="#{bench.name}">{escape(bench.name)}</a>' for bench in documents),
        summary=f"<section>{_table(_plain(summary(results)))}</section>",
        film=_film(film) if film else "",
        clips=section(clips) if clips else "",
        sections="\n".join(_section(bench, document, results) for bench, document in documents.items()),
    )


def _about(documents: Sequence[Mapping[str, Any]]) -> str:
    newest = max(documents, key=lambda document: str(document["metadata"]["date"]))["metadata"]
    machine = newest["machine"]
    lines = [
        "The most recent result was measured on this machine; each section names its own machine and commit.",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']:g} GiB, {machine['system']}, "
        f"GPU: {machine['gpu'] or 'none'}; pinned to {newest['threads']} threads.",
        f"{newest['date'][:16].replace('T', ' ')} UTC, commit {newest['commit'] or 'unknown'}"
        f"{' with local changes' if newest['changed'] else ''}.",
        ", ".join(f"{name} {version}" for name, version in newest["versions"].items()) + ".",
    ]
    return "<br>".join(map(escape, lines))


def _section(bench: Bench, document: Mapping[str, Any], results: Path) -> str:
    module = bench.load()
    plots: Iterable[Plot] = module.plots(document) if hasattr(module, "plots") else ()
    parts = [
        f'<section id="{bench.name}">',
        f"<h2>{escape(bench.name)}: {escape(bench.about)}</h2>",
        *map(_table, module.tables(document)),
        '<div class="plots">',
        *(f"<figure>{_inline(svg(plot))}</figure>" for plot in plots),
        "</div>",
        *_sheet(bench, results),
        *(f'<p class="caption">{escape(note)}</p>' for note in document["notes"]),
        f'<p class="caption">{escape(provenance(document))}</p>',
        _meanings(document),
        "</section>",
    ]
    return "\n".join(parts)


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.header)
    rows = []
    for row in table.rows:
        theirs = ' class="paper"' if any(cell.startswith("paper") for cell in row[:2]) else ""
        cells = (
            f'<td data-label="{escape(name)}">{escape(cell)}</td>'
            for name, cell in zip(table.header, row, strict=True)
        )
        rows.append(f"<tr{theirs}>{''.join(cells)}</tr>")
    return (
        f'<h3>{escape(table.title)}</h3><div class="scroll wide"><table><thead><tr>{head}</tr></thead>'
        f'<tbody>{"".join(rows)}</tbody></table></div><p class="caption">{escape(table.caption)}</p>'
    )


def _plain(table: Table) -> Table:
    """Return a table without Markdown's marks for code."""
    return table._replace(rows=[[cell.replace("`", "") for cell in row] for row in table.rows])


def _meanings(document: Mapping[str, Any]) -> str:
    lines = [
        f"<tr><td>{escape(name)}</td><td>{escape(figure['unit'])}</td><td>{escape(figure['about'])}</td></tr>"
        for name, figure in document["figures"].items()
    ]
    settings = "; ".join(f"{name}: {value}" for name, value in document["settings"].items())
    return (
        "<details><summary>Definitions and settings</summary>"
        f'<div class="scroll"><table>{"".join(lines)}</table></div><p>{escape(settings)}</p>'
        "</details>"
    )


def _sheet(bench: Bench, results: Path) -> list[str]:
    name = SHEETS.get(bench.name)
    if name is None or not (results / name).is_file():
        return []
    return [f'<figure><img alt="Contact sheet" src="{data_url(results / name)}"></figure>']


def _film(film: Film) -> str:
    before, after = (
        f'<video muted playsinline preload="auto" aria-label="{label}" src="{data_url(path)}"></video>'
        for label, path in (("before", film.before), ("after", film.after))
    )
    return (
        f'<figure><div class="compare">{before}{after}'
        '<input type="range" min="0" max="100" value="50" aria-label="Before/after position"></div>'
        f"<button>Play</button><figcaption>{escape(film.credit)}</figcaption></figure>"
    )


def _inline(document: str) -> str:
    return document[document.index("<svg") :]  # without the XML declaration
