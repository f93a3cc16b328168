"""Command lines of the two benchmark tools on the phone.

TFLite's (google-ai-edge/LiteRT, ``tflite/tools/benchmark``) takes inputs of any size and writes outputs;
LiteRT's (``litert/tools/benchmark_litert_model``) runs files that were compiled ahead of time for an NPU.
Both are shipped as ``benchmark_model``, so they are distinguished by the flags that they list. See
`benchmark_log` for their output.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from mvstylizer.errors import MVStylizerError

WHERE_TO_GET_IT = (
    "Set its path with --benchmark-bin: docs/phone.md lists where prebuilt Android binaries are, or build"
    " //tflite/tools/benchmark:benchmark_model"
)
Tool = Literal["tflite", "litert"]
TOOLS: dict[Tool, str] = {
    "tflite": "TFLite's benchmark_model",
    "litert": "LiteRT's benchmark_litert_model",
}
# An option that only one of them has; both inherit the others.
_MARKS: dict[Tool, str] = {"litert": "--dispatch_library_path", "tflite": "--input_layer_value_files"}
DELEGATES = ("cpu", "xnnpack", "gpu", "npu")
# use_xnnpack is always set: by default, the runtime adds XNNPACK below every other delegate.
_DELEGATE_FLAGS = {
    "cpu": ["--use_xnnpack=false"],
    "xnnpack": ["--use_xnnpack=true"],
    "gpu": ["--use_xnnpack=false", "--use_gpu=true"],
    "npu": ["--use_xnnpack=false", "--use_nnapi=true", "--disable_nnapi_cpu=true"],
}


class BenchmarkModelError(MVStylizerError):
    """Error raised when ``benchmark_model`` is missing, cannot run on the phone, or prints an unknown log."""


class NpuLibrary(NamedTuple):
    """An NPU vendor's libraries, for phones whose NPU is not available through NNAPI.

    Attributes:
        files: The TFLite delegate, or the dispatch library for LiteRT's tool; then what it loads.
        options: Options of the delegate, for example ``backend_type:htp;htp_performance_mode:2``.
        graphs: Folder with the graphs that `mvstylizer export --compile` wrote, or None.
        soc: Chip that they are compiled for, as in their names.
    """

    files: tuple[Path, ...]
    options: str = ""
    graphs: Path | None = None
    soc: str = ""


def usage_command(folder: str, program: str) -> str:
    """Return the shell command that makes either tool list its flags: one has a value of the wrong type."""
    return f"{shlex.join([f'{folder}/{program}', '--help=true', '--num_runs=?'])} 2>&1"


def recognize(usage: str) -> Tool | None:
    """Return which tool lists these flags; None for another program."""
    return next((tool for tool, mark in _MARKS.items() if mark in usage), None)


def litert_cannot(delegate: str, is_resized: bool) -> str:
    """Return why LiteRT's tool cannot measure a configuration, or nothing.

    Args:
        delegate: One of `DELEGATES`.
        is_resized: Whether the graph's inputs have no fixed size.
    """
    name, other = TOOLS["litert"], TOOLS["tflite"]
    if is_resized:
        return f"{name} cannot resize a graph's inputs: use {other}"
    if delegate == "cpu":
        return f"{name} cannot run without XNNPACK: use {other}, or --delegates xnnpack"
    return ""


def litert_command(
    folder: str,
    program: str,
    graph: str,
    delegate: str,
    threads: int,
    mask: str | None,
    flags: Sequence[str],
    *,
    is_full: bool,
    is_exact: bool = False,
) -> str:
    """Return the shell command of one call of LiteRT's tool, which makes up its inputs.

    Args:
        folder: Folder on the phone that contains all files, also the dispatch library.
        program: File name of the binary.
        graph: File name of the graph.
        delegate: ``xnnpack``, ``gpu`` or ``npu``.
        threads: Threads on the CPU.
        mask: taskset's mask of the cores; None leaves the choice to the scheduler.
        flags: Additional flags.
        is_full: Fail if the accelerator does not take the whole graph.
        is_exact: Keep float32 on the GPU.
    """
    accelerators = [f"--use_{name}={str(name in (delegate, _ON[delegate])).lower()}" for name in _ON.values()]
    full = ["--require_full_delegation=true"] if is_full and delegate != "xnnpack" else []
    npu = [f"--dispatch_library_path={folder}", f"--compiler_plugin_library_path={folder}"]
    words = [
        *_library_path(folder, delegate == "npu"),
        *(["taskset", mask] if mask else []),
        f"{folder}/{program}",
        f"--graph={folder}/{graph}",
        f"--num_threads={threads}",
        *accelerators,
        *full,
        *(npu if delegate == "npu" else []),
        *(["--allow_fp16=false"] if is_exact else []),
        *flags,
    ]
    return f"{shlex.join(words)} 2>&1"


_ON = {"xnnpack": "cpu", "gpu": "gpu", "npu": "npu"}


def _library_path(folder: str, is_needed: bool) -> list[str]:
    return [f"LD_LIBRARY_PATH={folder}", f"ADSP_LIBRARY_PATH={folder}"] if is_needed else []


def command(
    folder: str,
    program: str,
    graph: str,
    inputs: Mapping[str, tuple[Sequence[int], str]],
    delegate: str,
    threads: int,
    mask: str | None,
    flags: Sequence[str],
    npu: NpuLibrary | None = None,
    is_exact: bool = False,
) -> str:
    """Return the shell command of one call of TFLite's tool.

    Args:
        folder: Folder on the phone that contains all files.
        program: File name of the binary.
        graph: File name of the kernel.
        inputs: Tensor → (shape, name of the file with its bytes), in the interpreter's order.
        delegate: One of `DELEGATES`.
        threads: Threads of the interpreter.
        mask: taskset's mask of the cores; None leaves the choice to the scheduler.
        flags: Additional flags.
        npu: Library that implements the delegate ``npu``; None is NNAPI.
        is_exact: Keep float32 on the GPU.
    """
    shapes = ":".join(",".join(map(str, shape)) for shape, _ in inputs.values())
    files = ",".join(f"{name}:{folder}/{file}" for name, (_, file) in inputs.items())
    environment, delegate_flags = [], _DELEGATE_FLAGS[delegate]
    if npu and delegate == "npu":
        environment = _library_path(folder, True)
        delegate_flags = ["--use_xnnpack=false", f"--external_delegate_path={folder}/{npu.files[0].name}"]
        delegate_flags += [f"--external_delegate_options={npu.options}"] if npu.options else []
    if is_exact and delegate == "gpu":
        delegate_flags = [*delegate_flags, "--gpu_precision_loss_allowed=false"]
    prefix = [*environment, *(["taskset", mask] if mask else [])]
    graph_flags = [
        f"--graph={folder}/{graph}",
        f"--input_layer={','.join(inputs)}",
        f"--input_layer_shape={shapes}",
        f"--input_layer_value_files={files}",
        f"--num_threads={threads}",
    ]
    return f"{shlex.join([*prefix, f'{folder}/{program}', *graph_flags, *delegate_flags, *flags])} 2>&1"


def latency_flags(runs: int, min_seconds: float, warmup_seconds: float) -> list[str]:
    """Return the flags of a latency run, without anything that would slow it down."""
    return [f"--num_runs={runs}", f"--min_secs={min_seconds:g}", f"--warmup_min_secs={warmup_seconds:g}"]


def check_flags(output: str | None) -> list[str]:
    """Return the flags of a run that monitors memory, and writes the outputs to a file if the tool can."""
    return [
        "--num_runs=1",
        "--min_secs=0",
        "--warmup_min_secs=0",
        *([f"--output_filepath={output}"] if output else []),
        "--report_peak_memory_footprint=true",
        "--memory_footprint_check_interval_ms=5",
    ]


def profile_flags(runs: int) -> list[str]:
    """Return the flags of a run that times each operator, which slows it down."""
    profiling = ["--enable_op_profiling=true", "--op_profiling_output_mode=csv"]
    return [f"--num_runs={runs}", "--min_secs=0", *profiling]
