"""Run one benchmark: pin the process, store the result and print its tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

RESULTS: Final = Path("benchmarks/results")


def run_bench(
    name: str, *, quick: bool, threads: int, out: Path | None, as_json: bool, **options: Any
) -> None:
    """Run a benchmark, store its result and print it.

    Args:
        name: Name of the benchmark.
        quick: Use reduced settings.
        threads: Number of CPU cores to use.
        out: Result file; defaults to ``benchmarks/results/NAME.json``.
        as_json: Print the result instead of its tables.
        options: Options of the benchmark.
    """
    from benchmarks.harness.registry import Budget, bench
    from benchmarks.machine import Watch, pin

    threads = pin(threads)  # before importing anything that starts threads
    from benchmarks.harness.result import write

    watch = Watch(threads, quick=quick)

    def progress(line: str) -> None:
        watch.look()
        log(line)

    result = bench(name).run(Budget(quick, threads), progress, **options)
    document = result.document(watch.metadata())
    path = out or RESULTS / f"{name}.json"
    write(document, path)
    _draw(document, path)
    log(f"{name}: {path}")
    typer.echo(json.dumps(document) if as_json else _text(document))


def _text(document: Mapping[str, Any]) -> str:
    from benchmarks.harness.registry import bench
    from benchmarks.harness.tables import aligned

    tables = bench(document["bench"]).load().tables(document)
    return "\n\n".join([*map(aligned, tables), *document["notes"]])


def _draw(document: Mapping[str, Any], path: Path) -> None:
    """Write the plots of a result next to it: ``figure5.svg``, ``figure5-2.svg``, …."""
    from benchmarks.harness.plot import svg
    from benchmarks.harness.registry import bench

    module = bench(document["bench"]).load()
    for number, plot in enumerate(module.plots(document) if hasattr(module, "plots") else (), 1):
        name = f"{path.stem}.svg" if number == 1 else f"{path.stem}-{number}.svg"
        path.with_name(name).write_text(svg(plot))


def log(line: str) -> None:
    """Print a line of progress on stderr."""
    typer.echo(line, err=True)
