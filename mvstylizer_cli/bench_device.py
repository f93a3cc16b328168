"""``mvstylizer bench device``: measure the TFLite kernels on a phone."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mvstylizer.errors import MissingExtraError
from mvstylizer_cli.console import BundleOption, JsonOption
from mvstylizer_cli.stylizers import check_exclusive

if TYPE_CHECKING:
    from device_runtime.bench.benchmark_model import NpuLibrary
    from device_runtime.bench.pipeline_run import PipelineConfig
    from device_runtime.bench.plan import Config
    from device_runtime.bench.run_settings import RunSettings

DEFAULT_OUT = Path("bench-device.jsonl")
EXAMPLES = """\b
Examples:
  mvstylizer bench device --benchmark-bin android_aarch64_benchmark_model
  mvstylizer bench device --serial FA79J1A00421 --benchmark-bin benchmark_model --out pixel2.jsonl
  mvstylizer bench device --benchmark-bin benchmark_model --kernels warp --delegates xnnpack,gpu --threads 1,4
  mvstylizer bench device --benchmark-bin benchmark_model --out after.jsonl --compare pixel2.jsonl
  mvstylizer bench device --pipeline clip.mp4 --style dusk.jpg
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
            metavar="PATH", help="TFLite's benchmark_model or LiteRT's benchmark_litert_model for the phone."
        ),
    ] = None,
    bundle: BundleOption = None,
    pipeline: Annotated[
        Path | None,
        typer.Option(metavar="CLIP", help="Measure the whole of `stylize` on this clip instead of kernels."),
    ] = None,
    style: Annotated[Path | None, typer.Option(metavar="PHOTO", help="Style photo, for --pipeline.")] = None,
    edge: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Edge for --pipeline; the phone reaches one on this machine through adb."
            " [default: start the bundled Triton]",
        ),
    ] = None,
    local: Annotated[
        bool, typer.Option("--local", help="Run the lite model on the phone, for --pipeline.")
    ] = False,
    pack: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of `device pack`, for --pipeline. [default: make one]"),
    ] = None,
    intervals: Annotated[
        str, typer.Option(metavar="LIST", help="Key-frame intervals of --pipeline; 1 stylizes every frame.")
    ] = "1,5,15,30",
    interpolations: Annotated[
        str, typer.Option(metavar="LIST", help="Methods of --pipeline: transfer, warp.")
    ] = "transfer",
    frames: Annotated[int, typer.Option(min=2, help="Maximum number of frames of --pipeline.")] = 90,
    crf: Annotated[int, typer.Option(min=0, max=51, help="H.264 CRF of the results of --pipeline.")] = 18,
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip the rows that --out already has of this phone.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.jsonl",
            help="Append each row here as soon as it is measured. [default: bench-device.jsonl, or"
            " bench-pipeline.jsonl]",
        ),
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(metavar="FILE.jsonl", help="Earlier run to compare with.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Plot the rows (.png, .svg or .pdf).")
    ] = None,
    kernels: Annotated[
        str,
        typer.Option(metavar="LIST", help="Kernels, and the lite network: style_encoder, look."),
    ] = "warp,transfer,key_frame,style_encoder,look",
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
            help="NPU vendor's TFLite delegate, or dispatch library for LiteRT's tool; repeat for what it"
            " loads. [default: NNAPI]",
        ),
    ] = None,
    npu_graphs: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Graphs compiled for the NPU by `export --compile`; needs --soc."),
    ] = None,
    soc: Annotated[
        str, typer.Option(metavar="NAME", help="Chip of the compiled graphs, as in their names: SM8650.")
    ] = "",
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
    """Measure the TFLite kernels, or the whole pipeline, on a phone over adb."""
    if plot and find_spec("matplotlib") is None:
        raise MissingExtraError("bench", "matplotlib")
    if pipeline:
        from device_runtime.bench.adb import Adb, find_adb
        from device_runtime.bench.pipeline_session import PipelineSettings
        from mvstylizer_cli.bench_pipeline import DEFAULT_OUT as PIPELINE_OUT
        from mvstylizer_cli.bench_pipeline import PipelineJob, run_pipeline

        check_exclusive(edge, local)
        if edge and not edge.rpartition(":")[2].isdecimal():
            raise typer.BadParameter(f"{edge!r} is not HOST:PORT", param_hint="--edge")
        if style is None:
            raise typer.BadParameter("--pipeline needs it", param_hint="--style")
        job = PipelineJob(
            _existing(pipeline, "--pipeline"),
            _existing(style, "--style"),
            edge,
            local,
            pack,
            out or PIPELINE_OUT,
            _pipeline_plan(resolutions, intervals, interpolations),
            PipelineSettings(frames, crf, cool_below, cool_seconds),
            plot,
            resume,
        )
        document, text = run_pipeline(Adb(find_adb(adb)).phone(serial), job)
        typer.echo(json.dumps(document) if as_json else text)
        return
    from device_runtime.bench.benchmark_model import NpuLibrary
    from device_runtime.bench.run_settings import RunSettings

    configs = _plan(kernels, resolutions, delegates, threads)
    settings = RunSettings(repeats, runs, min_seconds, warmup_seconds, cool_below, cool_seconds, profile)
    if npu_graphs and not (soc and npu_library):
        raise typer.BadParameter(
            "needs --soc and the dispatch library, --npu-library", param_hint="--npu-graphs"
        )
    npu = NpuLibrary(tuple(npu_library), npu_options, npu_graphs, soc) if npu_library else None
    target = out or DEFAULT_OUT
    result, table = _run(serial, adb, benchmark_bin, bundle, target, compare, configs, settings, npu)
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
    from device_runtime.bench.plan import NOT_A_GRAPH
    from device_runtime.bench.session import Session
    from mvstylizer.bundle import default_bundle, load_bundle

    phone = Adb(find_adb(adb)).phone(serial)
    if binary is None:
        raise BenchmarkModelError("The phone needs a benchmark_model", WHERE_TO_GET_IT)
    before = results.read(earlier) if earlier else []
    session = Session(phone, load_bundle(bundle or default_bundle("lite")), binary, settings, npu)
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
    return result, results.markdown(rows, changes) + f"\n{NOT_A_GRAPH}\n"


def _plan(kernels: str, resolutions: str, delegates: str, threads: str) -> list[Config]:
    from device_runtime.bench.benchmark_model import DELEGATES
    from device_runtime.bench.plan import KERNELS, plan

    return list(
        plan(
            _chosen(kernels, KERNELS, "--kernels"),
            [_size(text) for text in _items(resolutions)],
            _chosen(delegates, DELEGATES, "--delegates"),
            [_count(text, "--threads") for text in _items(threads)],
        )
    )


def _pipeline_plan(resolutions: str, intervals: str, interpolations: str) -> list[PipelineConfig]:
    from device_runtime.bench.pipeline_run import PipelineConfig

    methods = _chosen(interpolations, ("transfer", "warp"), "--interpolations")
    return [
        PipelineConfig(*_size(size), _count(interval, "--intervals"), method)
        for size in _items(resolutions)
        for method in methods
        for interval in _items(intervals)
    ]


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise typer.BadParameter(f"{text!r} is not WIDTHxHEIGHT", param_hint="--resolutions")
    return int(width), int(height)


def _count(text: str, option: str) -> int:
    if not text.isdecimal() or not int(text):
        raise typer.BadParameter(f"{text!r} is not a whole number above 0", param_hint=option)
    return int(text)


def _existing(path: Path, option: str) -> Path:
    if not path.is_file():
        raise typer.BadParameter(f"there is no file {path}", param_hint=option)
    return path


def _chosen(text: str, known: tuple[str, ...], option: str) -> list[str]:
    names = _items(text)
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"{name!r} is not one of {', '.join(known)}", param_hint=option)
    return names


def _items(text: str) -> list[str]:
    return list(dict.fromkeys(item.strip() for item in text.split(",") if item.strip()))
