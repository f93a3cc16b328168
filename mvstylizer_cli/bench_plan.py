"""Parse the lists and names among the options of ``mvstylizer bench device``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from device_runtime.bench.benchmark_model import NpuLibrary
    from device_runtime.bench.pipeline_run import PipelineConfig
    from device_runtime.bench.plan import Config


def share(text: str | None, compare: Path | None) -> float | None:
    """Return ``5%`` or ``5`` as 0.05."""
    if text is None:
        return None
    if compare is None:
        raise typer.BadParameter("needs an earlier run, --compare", param_hint="--fail-over")
    number = text.strip().removesuffix("%").strip()
    if not re.fullmatch(r"\d+(\.\d+)?", number):
        raise typer.BadParameter(f"{text!r} is not a percentage", param_hint="--fail-over")
    return float(number) / 100


def npu_library_of(
    name: str | None,
    sdk: Path | None,
    libraries: list[Path] | None,
    options: str,
    graphs: Path | None,
    soc: str,
) -> NpuLibrary | None:
    """Return the NPU's libraries: those of a preset, or the given ones; None = NNAPI."""
    from device_runtime.bench.benchmark_model import NpuLibrary
    from device_runtime.bench.npu_presets import PRESETS, preset_files

    if name:
        if name not in PRESETS:
            raise typer.BadParameter(f"{name!r} is not one of {', '.join(PRESETS)}", param_hint="--npu")
        if sdk is None:
            raise typer.BadParameter("--npu needs it", param_hint="--npu-sdk")
        preset = PRESETS[name]
        typer.echo(f"Warning: --npu {name} has not been tested on a {preset.chip}", err=True)
        return NpuLibrary(preset_files(name, sdk), options, graphs, soc or preset.soc)
    if graphs and not (soc and libraries):
        raise typer.BadParameter("needs --soc and --npu-library, or --npu", param_hint="--npu-graphs")
    return NpuLibrary(tuple(libraries), options, graphs, soc) if libraries else None


def kernel_plan(kernels: str, resolutions: str, delegates: str, threads: str) -> list[Config]:
    """Return the rows of a kernel benchmark, from comma-separated lists."""
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


def pipeline_plan(resolutions: str, intervals: str, interpolations: str) -> list[PipelineConfig]:
    """Return the runs of a pipeline benchmark, from comma-separated lists."""
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


def existing(path: Path, option: str) -> Path:
    """Return a path that an option names, if it is a file."""
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
