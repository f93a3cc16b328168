"""``mvstylizer stylize`` on many files: a folder of results, and one report."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mvstylizer_cli.console import Show, finish, warn
from mvstylizer_cli.stylize_file import stylize_file

if TYPE_CHECKING:
    from device_runtime.batch.plan import Item
    from device_runtime.batch.report import FileResult
    from device_runtime.options import StylizeOptions
    from device_runtime.pipeline import Progress
    from device_runtime.report import Report
    from mvstylizer.stylizer import Stylizer
    from mvstylizer_cli.stylizers import StylizerBackend

SkipOption = Annotated[
    bool, typer.Option("--skip-existing", help="With several files: leave out those with a result.")
]
JobsOption = Annotated[
    int, typer.Option("--jobs", min=1, help="With several files: number of files to stylize at a time.")
]


def stylize_many(
    sources: list[str],
    styles: dict[Path, float],
    out: str,
    *,
    options: StylizeOptions,
    backend: StylizerBackend,
    resume: bool,
    skip_existing: bool,
    jobs: int,
    as_json: bool,
) -> None:
    """Stylize files into a folder; exits with 1 at the end if one has failed."""
    from device_runtime.batch.plan import plan_batch
    from device_runtime.batch.run import run_batch
    from device_runtime.media.cube_file import read_cube
    from device_runtime.stylizers.style_mix import StyleMix

    items = plan_batch([Path(source) for source in sources], Path(out), keep_out=list(styles))
    options.selector(backend.model)
    if options.input_lut:
        read_cube(Path(options.input_lut))
    StyleMix.read(styles)  # a bad style would fail every file

    def work(item: Item, stylizer: Stylizer, progress: Progress) -> Report:
        return stylize_file(
            item.source,
            styles,
            item.out,
            options=options,
            stylizer=stylizer,
            backend=backend,
            progress=progress,
            resume=resume,
        )

    with Show("Files") as show, backend.shared() as open_stylizer:
        tell = _Teller(show, len(items))
        report = run_batch(
            items,
            Path(out),
            work,
            open_stylizer,
            jobs=min(jobs, len(items)),
            skip_existing=skip_existing,
            on_result=tell.result,
            on_frame=tell.frame,
        )
    for file in report.files:
        if file.report is not None:
            warn(file.report.warnings)
    finish(report.as_dict(), report.summary(), as_json)
    if report.count("failed"):
        raise typer.Exit(1)


class _Teller:
    """Shows the progress of a run over files, and names each failed one at once."""

    def __init__(self, show: Show, total: int) -> None:
        self._show, self._total, self._done = show, total, 0
        self._lock = threading.Lock()

    def result(self, result: FileResult, done: int) -> None:
        with self._lock:
            self._done = done
            self._show(done, self._total)
            if result.state == "failed":
                hint = f". {result.hint}" if result.hint else ""
                self._show.say(f"mvstylizer: {result.source} failed: {result.error}{hint}")

    def frame(self, item: Item, done: int, total: int | None) -> None:
        with self._lock:
            share = f" {100 * done // total} %" if total else f" frame {done}"
            self._show(self._done, self._total, item.source.name + share)
