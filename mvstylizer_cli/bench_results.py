"""``mvstylizer bench compare``, ``report`` and ``readme``: work with stored results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final

import typer

from mvstylizer_cli.bench_runner import RESULTS, log
from mvstylizer_cli.console import JsonOption

FILES_WITH_TABLES: Final = [Path("README.md"), Path("docs/figures.md"), Path("models/MODEL_CARD.md")]

ResultsOption = Annotated[Path, typer.Option("--results", metavar="DIR", help="Folder of the results.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to `mvstylizer bench`."""
    for command, *examples in (
        (
            compare,
            "compare before/table1.json benchmarks/results/table1.json",
            "compare v0.1.0",
        ),
        (report, "report", "report --out report.html --no-film"),
        (readme, "readme", "readme --check"),
    ):
        lines = "".join(f"\n  mvstylizer bench {example}" for example in examples)
        app.command(epilog=f"\b\nExample{'s' * (len(examples) > 1)}:{lines}")(command)


def compare(
    before: Annotated[
        str,
        typer.Argument(metavar="BEFORE", help="A result, a folder of results, or a release tag or commit."),
    ],
    after: Annotated[
        Path, typer.Argument(metavar="AFTER", help="A result of the same benchmark, or a folder of results.")
    ] = RESULTS,
    everything: Annotated[
        bool, typer.Option("--everything", help="Also show figures that are unchanged within the noise.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with status 1 if a figure is worse.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare two results figure by figure, or all results with those of a release."""
    import tempfile

    from benchmarks.harness import compare as comparison
    from benchmarks.harness.past_results import results_at
    from benchmarks.harness.result import read
    from benchmarks.harness.tables import aligned

    with tempfile.TemporaryDirectory() as folder:
        first = Path(before) if Path(before).exists() else results_at(before, Path(folder))
        if first.is_dir():
            changes, moved = comparison.compare_folders(first, after)
        else:
            results = read(first), read(after)
            changes, moved = comparison.compare(*results), comparison.machine_moved(*results)
    text = aligned(comparison.as_table(changes, moved, everything=everything))
    typer.echo(json.dumps(comparison.as_dict(changes, moved)) if as_json else text)
    if strict and any(change.verdict == "worse" for change in changes):
        raise typer.Exit(1)


def report(
    results: ResultsOption = RESULTS,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Output page. [default: report.html in the results folder]"),
    ] = None,
    film: Annotated[
        bool, typer.Option(help="Include clips: before and after, and in four ways (takes minutes).")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Write all results as one self-contained HTML page."""
    import tempfile

    from benchmarks.harness.report import page
    from device_runtime.media.atomic_file import pending_file

    path = out or results / "report.html"
    with tempfile.TemporaryDirectory() as folder:
        before_after, side_by_side = None, []
        if film:
            from benchmarks.runs.film import make_film
            from benchmarks.runs.side_by_side import make_side_by_side

            before_after = make_film(Path(folder))
            side_by_side = make_side_by_side(Path(folder), log)
        with pending_file(path) as part:
            part.write_text(page(results, before_after, side_by_side))
    typer.echo(json.dumps({"report": str(path)}) if as_json else f"Report: {path}")


def readme(
    file: Annotated[
        list[Path],
        typer.Option(
            metavar="FILE.md", help="File whose <!-- bench:NAME --> blocks are updated; repeatable."
        ),
    ] = FILES_WITH_TABLES,
    results: ResultsOption = RESULTS,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with status 1 if a block is out of date.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Update the result tables in README, docs and model card."""
    states = {str(each): _refresh(each, results, check) for each in file}
    lines = (f"{name}: {state}" for name, state in states.items())
    typer.echo(json.dumps({"files": states}) if as_json else "\n".join(lines))
    if "out of date" in states.values():
        raise typer.Exit(1)


def _refresh(file: Path, results: Path, check: bool) -> str:
    from benchmarks.harness.readme import ReadmeError, rewritten

    try:
        before = file.read_text()
        after = rewritten(before, results)
        if not check and after != before:
            file.write_text(after)
    except OSError as err:
        raise ReadmeError(f"Cannot use {file}: {err.strerror}", "Pass another file with --file") from err
    return "up to date" if after == before else "out of date" if check else "written"
