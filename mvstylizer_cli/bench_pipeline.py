"""``mvstylizer bench device --pipeline``: measure the whole of `stylize` on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

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
        pack: Folder of `device pack`; None makes one in the user's cache.
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
    pack: Path | None
    out: Path
    configs: list[PipelineConfig]
    settings: PipelineSettings
    plot: Path | None
    resume: bool


def run_pipeline(phone: Phone, job: PipelineJob) -> tuple[dict[str, Any], str]:
    """Measure, and return the JSON object and the tables."""
    from device_runtime.bench import pipeline_results, results
    from device_runtime.bench.pipeline_session import PipelineSession

    pack = _pack(job.pack)
    with (
        _edge(job) as edge,
        PipelineSession(phone, pack, job.clip, job.style, edge=edge, settings=job.settings) as session,
    ):
        done = session.matching(pipeline_results.read(job.out)) if job.resume and job.out.is_file() else []
        keys = {pipeline_results.config_key(row) for row in done}
        left = [c for c in job.configs if pipeline_results.key_of(c, session.where) not in keys]
        typer.echo(f"{session.record.model}, Android {session.record.android}: {len(left)} runs", err=True)
        rows = list(done)
        for config, row in zip(left, session.measure(left), strict=True):
            results.append(job.out, row)
            rows.append(row)
            reasons = f" ({'; '.join(row['reasons'])})" if row["reasons"] else ""
            typer.echo(f"{len(rows)}/{len(job.configs)}  {config}: {row['verdict']}{reasons}", err=True)
    if job.plot:
        pipeline_results.save_plot(rows, job.plot)
    document = {"schema": pipeline_results.SCHEMA, "out": str(job.out), "rows": rows}
    return document, pipeline_results.markdown(rows)


def _pack(folder: Path | None) -> Pack:
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
