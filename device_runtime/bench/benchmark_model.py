"""Command line of TFLite's ``benchmark_model`` on the phone.

Flags are those of google-ai-edge/LiteRT, ``tflite/tools/benchmark``; see `benchmark_log` for its output.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mvstylizer.errors import MVStylizerError

WHERE_TO_GET_IT = (
    "Set its path with --benchmark-bin: prebuilt Android binaries are on LiteRT's release page"
    " (github.com/google-ai-edge/LiteRT/releases), or build //tflite/tools/benchmark:benchmark_model"
)
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
    """An NPU vendor's TFLite delegate, for phones whose NPU is not available through NNAPI.

    Attributes:
        files: The delegate, then the libraries that it loads.
        options: Options of the delegate, for example ``backend_type:htp;htp_performance_mode:2``.
    """

    files: tuple[Path, ...]
    options: str = ""


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
) -> str:
    """Return the shell command of one call.

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
    """
    shapes = ":".join(",".join(map(str, shape)) for shape, _ in inputs.values())
    files = ",".join(f"{name}:{folder}/{file}" for name, (_, file) in inputs.items())
    environment, delegate_flags = [], _DELEGATE_FLAGS[delegate]
    if npu and delegate == "npu":
        environment = [f"LD_LIBRARY_PATH={folder}", f"ADSP_LIBRARY_PATH={folder}"]
        delegate_flags = ["--use_xnnpack=false", f"--external_delegate_path={folder}/{npu.files[0].name}"]
        delegate_flags += [f"--external_delegate_options={npu.options}"] if npu.options else []
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


def check_flags(output: str) -> list[str]:
    """Return the flags of a run that writes the output tensors and monitors memory, which slows it down."""
    return [
        "--num_runs=1",
        "--min_secs=0",
        "--warmup_min_secs=0",
        f"--output_filepath={output}",
        "--report_peak_memory_footprint=true",
        "--memory_footprint_check_interval_ms=5",
    ]


def profile_flags(runs: int) -> list[str]:
    """Return the flags of a run that times each operator, which slows it down."""
    profiling = ["--enable_op_profiling=true", "--op_profiling_output_mode=csv"]
    return [f"--num_runs={runs}", "--min_secs=0", *profiling]
