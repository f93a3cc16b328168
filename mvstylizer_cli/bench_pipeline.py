"""``mvstylizer bench device --pipeline``: measure the whole of `stylize` on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mvstylizer_cli.bench_phones import file_of

if TYPE_CHECKING:
    from device_runtime.bench.adb import Phone
    from device_runtime.bench.pipeline_run import PipelineConfig
    from device_runtime.bench.pipeline_session import PipelineSettings
    from device_runtime.pack.pack import Pack

DEFAULT_OUT = Path("bench-pipeline.jsonl")


@dataclass(frozen=True)
class PipelineJob:
    """What to run on the phone.

    Attributes:
        clip: The video.
        style: The style photo.
        edge: ``HOST:PORT``, or None.
        local: Run the lite model on the phone.
        pack: What runs on the phone.
        out: File that each row is appended to.
        configs: Resolutions, intervals and methods.
        settings: How to measure.
        plot: File for Figure 5, or None.
        resume: Skip configurations that `out` already has of this phone, clip and style.
    """

    clip: Path
    style: Path
    edge: str | None
    local: bool
    pack: Pack
    out: Path
    configs: list[PipelineConfig]
    settings: PipelineSettings
    plot: Path | None
    resume: bool

    def on(self, phone: Phone) -> PipelineJob:
        """Return the job with files of this phone's own."""
        plot = self.plot and file_of(self.plot, phone)
        return replace(self, out=file_of(self.out, phone), plot=plot)


def run_pipeline(phone: Phone, job: PipelineJob) -> tuple[dict[str, Any], str, bool]:
    """Measure, and return the JSON object, the tables, and True."""
    from device_runtime.bench import pipeline_results, results
    from device_runtime.bench.phone_mode import benchmark_mode
    from device_runtime.bench.pipeline_session import PipelineSession

    with (
        _edge(job) as edge,
        PipelineSession(phone, job.pack, job.clip, job.style, edge=edge, settings=job.settings) as session,
    ):
        done = session.matching(pipeline_results.read(job.out)) if job.resume and job.out.is_file() else []
        keys = {pipeline_results.config_key(row) for row in done}
        left = [c for c in job.configs if pipeline_results.key_of(c, session.where) not in keys]
        typer.echo(f"{session.record.model}, Android {session.record.android}: {len(left)} runs", err=True)
        rows = list(done)
        with benchmark_mode(phone) as session.mode, closing(session.measure(left)) as measured:
            for config, row in zip(left, measured, strict=True):
                results.append(job.out, row)
                rows.append(row)
                reasons = f" ({'; '.join(row['reasons'])})" if row["reasons"] else ""
                typer.echo(f"{len(rows)}/{len(job.configs)}  {config}: {row['verdict']}{reasons}", err=True)
    if job.plot:
        pipeline_results.save_plot(rows, job.plot)
    document = {"schema": pipeline_results.SCHEMA, "out": str(job.out), "rows": rows}
    return document, pipeline_results.markdown(rows), True


def prepared_pack(folder: Path | None) -> Pack:
    """Return the pack in a folder, or one made in the user's cache.

    Raises:
        PackError: It is not one, or cannot be made.
    """
    from device_runtime.pack.download import cache_folder
    from device_runtime.pack.pack import make_pack, read_pack

    if folder:
        return read_pack(folder)
    return make_pack(cache_folder() / "pack", progress=lambda line: typer.echo(line, err=True))


@contextmanager
def _edge(job: PipelineJob) -> Iterator[str | None]:
    """Yield the edge's address: the given one, none for a local run, or the bundled Triton's for this run."""
    if job.edge or job.local:
        yield job.edge
        return
    from edge_triton.triton.server import TritonServer
    from mvstylizer.bundle import default_bundle

    with TritonServer(default_bundle()) as server:
        yield server.address
