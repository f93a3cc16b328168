"""``mvstylizer bench device``: measure the TFLite graphs, or the whole of `stylize`, on a phone."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from mvstylizer.errors import MissingExtraError
from mvstylizer_cli.bench_phones import on_phones, phones_of
from mvstylizer_cli.bench_plan import existing, kernel_plan, npu_library_of, pipeline_plan, share
from mvstylizer_cli.console import BundleOption, JsonOption
from mvstylizer_cli.stylizers import check_exclusive

if TYPE_CHECKING:
    from device_runtime.bench.adb import Phone
    from mvstylizer_cli.bench_kernels import KernelJob
    from mvstylizer_cli.bench_pipeline import PipelineJob

Job = TypeVar("Job", "KernelJob", "PipelineJob")
# Known to `npu_presets`, which is imported only when a preset is used.
NPUS = (
    "snapdragon-8-gen-2",
    "snapdragon-8-gen-3",
    "snapdragon-8-elite",
    "snapdragon-8-elite-gen-5",
    "tensor-g4",
    "tensor-g5",
    "dimensity-9300",
    "dimensity-9400",
)
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
        list[str] | None,
        typer.Option(
            metavar="SERIAL",
            help="Phone, as listed by `adb devices`; required if there are several. Repeat to measure several"
            " at once, with a file each.",
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
    fail_over: Annotated[
        str | None,
        typer.Option(metavar="PERCENT", help="With --compare, exit with 1 if a row is slower by more: 5%."),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE.xml", help="Write the rows as JUnit test cases.")
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
    npu: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Chip whose libraries are in --npu-sdk: " + ", ".join(NPUS) + "."),
    ] = None,
    npu_sdk: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The NPU vendor's unpacked SDK, for --npu.")
    ] = None,
    cores: Annotated[
        Literal["fastest", "prime", "big", "mid", "little"],
        typer.Option(help="Cluster that CPU threads are pinned to."),
    ] = "fastest",
    probe: Annotated[
        bool, typer.Option(help="Run a small kernel after each row, to notice that the phone slows down.")
    ] = True,
    sustain: Annotated[
        int,
        typer.Option(min=0, metavar="MIN", help="Repeat each row for some minutes more, minute by minute."),
    ] = 0,
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
    over = share(fail_over, compare)
    phones = partial(phones_of, adb, serial or ())
    if pipeline:
        from device_runtime.bench.pipeline_session import PipelineSettings
        from mvstylizer_cli.bench_pipeline import DEFAULT_OUT, PipelineJob, prepared_pack, run_pipeline

        check_exclusive(edge, local)
        if edge and not edge.rpartition(":")[2].isdecimal():
            raise typer.BadParameter(f"{edge!r} is not HOST:PORT", param_hint="--edge")
        if style is None:
            raise typer.BadParameter("--pipeline needs it", param_hint="--style")
        whole = PipelineJob(
            existing(pipeline, "--pipeline"),
            existing(style, "--style"),
            edge,
            local,
            prepared_pack(pack),
            out or DEFAULT_OUT,
            pipeline_plan(resolutions, intervals, interpolations),
            PipelineSettings(frames, crf, cool_below, cool_seconds),
            plot,
            resume,
        )
        _finish(phones(), whole, run_pipeline, as_json)
        return
    from device_runtime.bench.run_settings import RunSettings
    from mvstylizer_cli.bench_kernels import DEFAULT_OUT as KERNELS_OUT
    from mvstylizer_cli.bench_kernels import KernelJob, run_kernels

    kernel_job = KernelJob(
        benchmark_bin,
        bundle,
        out or KERNELS_OUT,
        compare,
        over,
        junit,
        plot,
        kernel_plan(kernels, resolutions, delegates, threads),
        RunSettings(
            repeats,
            runs,
            min_seconds,
            warmup_seconds,
            cool_below,
            cool_seconds,
            profile,
            probe,
            cores,
            sustain,
        ),
        npu_library_of(npu, npu_sdk, npu_library, npu_options, npu_graphs, soc),
        resume,
    )
    _finish(phones(), kernel_job, run_kernels, as_json)


def _finish(
    phones: list[Phone],
    job: Job,
    run: Callable[[Phone, Job], tuple[dict[str, Any], str, bool]],
    as_json: bool,
) -> None:
    """Run a job on all phones, print the results, and exit with 1 if one of them is not good."""
    several = len(phones) > 1
    outcomes = on_phones(phones, lambda phone: run(phone, job.on(phone) if several else job))
    if as_json:
        documents = [document for document, _, _ in outcomes]
        typer.echo(json.dumps({"phones": documents} if several else documents[0]))
    else:
        typer.echo("\n".join(text for _, text, _ in outcomes))
    if not all(good for _, _, good in outcomes):
        raise typer.Exit(1)
