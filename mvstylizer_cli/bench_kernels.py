"""``mvstylizer bench device`` without ``--pipeline``: measure the TFLite graphs on a phone."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mvstylizer_cli.bench_phones import file_of

if TYPE_CHECKING:
    from device_runtime.bench.adb import Phone
    from device_runtime.bench.benchmark_model import NpuLibrary
    from device_runtime.bench.plan import Config
    from device_runtime.bench.run_settings import RunSettings

DEFAULT_OUT = Path("bench-device.jsonl")


@dataclass(frozen=True)
class KernelJob:
    """What to measure.

    Attributes:
        binary: The benchmark tool, or None if none was given.
        bundle: The bundle's folder; None = the bundled lite model.
        out: File that each row is appended to.
        compare: Earlier run, or None.
        fail_over: Slow-down of a row that fails the command, for example 0.05; None = never.
        junit: JUnit file, or None.
        plot: Picture, or None.
        configs: The rows.
        settings: How to measure.
        npu: NPU vendor's libraries, or None.
        resume: Skip rows that `out` already has of this phone.
    """

    binary: Path | None
    bundle: Path | None
    out: Path
    compare: Path | None
    fail_over: float | None
    junit: Path | None
    plot: Path | None
    configs: list[Config]
    settings: RunSettings
    npu: NpuLibrary | None
    resume: bool

    def on(self, phone: Phone) -> KernelJob:
        """Return the job with files of this phone's own."""
        junit, plot = (path and file_of(path, phone) for path in (self.junit, self.plot))
        return replace(self, out=file_of(self.out, phone), junit=junit, plot=plot)


def run_kernels(phone: Phone, job: KernelJob) -> tuple[dict[str, Any], str, bool]:
    """Measure, and return the JSON object, the tables, and whether no row became slower than allowed."""
    from device_runtime.bench import regression, results
    from device_runtime.bench.plan import NOT_A_GRAPH

    before = results.read(job.compare) if job.compare else []
    rows = _measured(phone, job)
    changes = results.compare(before, rows)
    slow = regression.slower(changes, job.fail_over) if job.fail_over is not None else []
    if job.junit:
        regression.write_junit(rows, slow, job.junit)
    if job.plot:
        from device_runtime.bench.plot import save_plot

        save_plot(rows, job.plot)
    document = {
        "schema": results.SCHEMA,
        "out": str(job.out),
        "rows": rows,
        "changes": [change._asdict() for change in changes],
        "slower": [change.config for change in slow],
    }
    text = results.markdown(rows, changes) + f"\n{NOT_A_GRAPH}\n"
    if slow:
        text += f"\nSlower than allowed: {', '.join(change.config for change in slow)}\n"
    return document, text, not slow


def _measured(phone: Phone, job: KernelJob) -> list[dict[str, Any]]:
    from device_runtime.bench import results
    from device_runtime.bench.benchmark_model import WHERE_TO_GET_IT, BenchmarkModelError
    from device_runtime.bench.phone_mode import benchmark_mode
    from device_runtime.bench.session import Session
    from mvstylizer.bundle import default_bundle, load_bundle

    if job.binary is None:
        raise BenchmarkModelError("The phone needs a benchmark_model", WHERE_TO_GET_IT)
    bundle = load_bundle(job.bundle or default_bundle("lite"))
    session = Session(phone, bundle, job.binary, job.settings, job.npu)
    rows = session.matching(results.read(job.out)) if job.resume and job.out.is_file() else []
    keys = {results.config_key(row) for row in rows}
    left = [config for config in job.configs if results.key_of(config) not in keys]
    typer.echo(f"{session.record.model}, Android {session.record.android}: {len(left)} rows", err=True)
    with benchmark_mode(phone) as session.mode, closing(session.measure(left)) as measured:
        for config, row in zip(left, measured, strict=True):
            results.append(job.out, row)
            rows.append(row)
            typer.echo(f"{len(rows)}/{len(job.configs)}  {config}: {row['verdict']}", err=True)
    return rows
