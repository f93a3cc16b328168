"""``mvstylizer bench device``: measure the TFLite kernels on a phone."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mvstylizer.errors import MissingExtraError
from mvstylizer_cli.console import BundleOption, JsonOption

if TYPE_CHECKING:
    from device_runtime.bench.benchmark_model import NpuLibrary
    from device_runtime.bench.plan import Config
    from device_runtime.bench.run_settings import RunSettings

EXAMPLES = """\b
Examples:
  mvstylizer bench device --benchmark-bin android_aarch64_benchmark_model
  mvstylizer bench device --serial FA79J1A00421 --benchmark-bin benchmark_model --out pixel2.jsonl
  mvstylizer bench device --benchmark-bin benchmark_model --kernels warp --delegates xnnpack,gpu --threads 1,4
  mvstylizer bench device --benchmark-bin benchmark_model --out after.jsonl --compare pixel2.jsonl
"""


def bench_device(
    serial: Annotated[
        str | None,
        typer.Option(
            metavar="SERIAL", help="Phone, as listed by `adb devices`; required if there are several."
        ),
    ] = None,
    adb: Annotated[
        Path | None, typer.Option(metavar="PATH", help="adb binary. [default: $ADB, or adb on the PATH]")
    ] = None,
    benchmark_bin: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="TFLite's benchmark_model built for the phone, from LiteRT's release page."
        ),
    ] = None,
    bundle: BundleOption = None,
    out: Annotated[
        Path, typer.Option(metavar="FILE.jsonl", help="Append each row here as soon as it is measured.")
    ] = Path("bench-device.jsonl"),
    compare: Annotated[
        Path | None, typer.Option(metavar="FILE.jsonl", help="Earlier run to compare with.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Plot the rows (.png, .svg or .pdf).")
    ] = None,
    kernels: Annotated[
        str, typer.Option(metavar="LIST", help="Kernels: warp, transfer, key_frame.")
    ] = "warp,transfer,key_frame",
    resolutions: Annotated[
        str, typer.Option(metavar="LIST", help="Frame sizes, WIDTHxHEIGHT.")
    ] = "512x256,768x384,1024x512,1920x1080",
    delegates: Annotated[
        str,
        typer.Option(metavar="LIST", help="Delegates: cpu (TFLite's built-in operators), xnnpack, gpu, npu."),
    ] = "cpu,xnnpack,gpu,npu",
    threads: Annotated[
        str, typer.Option(metavar="LIST", help="Thread counts for cpu and xnnpack.")
    ] = "1,2,4",
    npu_library: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="NPU vendor's TFLite delegate; repeat for each library that it loads. [default: NNAPI]",
        ),
    ] = None,
    npu_options: Annotated[
        str, typer.Option(metavar="KEY:VALUE;...", help="Options of the NPU delegate.")
    ] = "",
    repeats: Annotated[int, typer.Option(min=1, help="Latency runs per configuration.")] = 5,
    runs: Annotated[int, typer.Option(min=1, help="Minimum inferences per latency run.")] = 50,
    min_seconds: Annotated[float, typer.Option(min=0, help="Minimum duration of a latency run.")] = 1.0,
    warmup_seconds: Annotated[float, typer.Option(min=0, help="Warm-up before each latency run.")] = 0.5,
    cool_below: Annotated[
        float,
        typer.Option(metavar="°C", help="Wait while the battery is warmer than this."),
    ] = 35.0,
    cool_seconds: Annotated[
        float, typer.Option(min=0, help="Maximum wait for the phone to cool down.")
    ] = 600.0,
    profile: Annotated[bool, typer.Option(help="Also time the operators, in an additional run.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Measure the TFLite kernels on a phone over adb."""
    from device_runtime.bench.benchmark_model import NpuLibrary
    from device_runtime.bench.run_settings import RunSettings

    configs = _plan(kernels, resolutions, delegates, threads)
    settings = RunSettings(repeats, runs, min_seconds, warmup_seconds, cool_below, cool_seconds, profile)
    if plot and find_spec("matplotlib") is None:
        raise MissingExtraError("bench", "matplotlib")
    npu = NpuLibrary(tuple(npu_library), npu_options) if npu_library else None
    result, table = _run(serial, adb, benchmark_bin, bundle, out, compare, configs, settings, npu)
    if plot:
        from device_runtime.bench.plot import save_plot

        save_plot(result["rows"], plot)
    typer.echo(json.dumps(result) if as_json else table)


def _run(
    serial: str | None,
    adb: Path | None,
    binary: Path | None,
    bundle: Path | None,
    out: Path,
    earlier: Path | None,
    configs: list[Config],
    settings: RunSettings,
    npu: NpuLibrary | None,
) -> tuple[dict[str, Any], str]:
    from device_runtime.bench import results
    from device_runtime.bench.adb import Adb, find_adb
    from device_runtime.bench.benchmark_model import WHERE_TO_GET_IT, BenchmarkModelError
    from device_runtime.bench.session import Session
    from mvstylizer.bundle import default_bundle, load_bundle

    phone = Adb(find_adb(adb)).phone(serial)
    if binary is None:
        raise BenchmarkModelError("The phone needs TFLite's benchmark_model", WHERE_TO_GET_IT)
    before = results.read(earlier) if earlier else []
    session = Session(phone, load_bundle(bundle or default_bundle()), binary, settings, npu)
    typer.echo(f"{session.record.model}, Android {session.record.android}: {len(configs)} rows", err=True)
    rows = []
    for config, row in zip(configs, session.measure(configs), strict=True):
        results.append(out, row)
        rows.append(row)
        typer.echo(f"{len(rows)}/{len(configs)}  {config}: {row['verdict']}", err=True)
    changes = results.compare(before, rows)
    result = {
        "schema": results.SCHEMA,
        "out": str(out),
        "rows": rows,
        "changes": [change._asdict() for change in changes],
    }
    return result, results.markdown(rows, changes)


def _plan(kernels: str, resolutions: str, delegates: str, threads: str) -> list[Config]:
    from device_runtime.bench.benchmark_model import DELEGATES
    from device_runtime.bench.plan import KERNELS, plan

    def size(text: str) -> tuple[int, int]:
        width, _, height = text.partition("x")
        if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
            raise typer.BadParameter(f"{text!r} is not WIDTHxHEIGHT", param_hint="--resolutions")
        return int(width), int(height)

    def count(text: str) -> int:
        if not text.isdecimal() or not int(text):
            raise typer.BadParameter(f"{text!r} is not a number of threads", param_hint="--threads")
        return int(text)

    return list(
        plan(
            _chosen(kernels, KERNELS, "--kernels"),
            [size(text) for text in _items(resolutions)],
            _chosen(delegates, DELEGATES, "--delegates"),
            [count(text) for text in _items(threads)],
        )
    )


def _chosen(text: str, known: tuple[str, ...], option: str) -> list[str]:
    names = _items(text)
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"{name!r} is not one of {', '.join(known)}", param_hint=option)
    return names


def _items(text: str) -> list[str]:
    return list(dict.fromkeys(item.strip() for item in text.split(",") if item.strip()))
