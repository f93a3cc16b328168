"""TFLite's ``benchmark_model`` on the phone: its command line, and the figures in its log.

Flags and log lines are those of google-ai-edge/LiteRT, ``tflite/tools/benchmark``. Its percentiles come from
the runs themselves; nothing here is derived from mean and standard deviation.
"""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mvstylizer.errors import MVStylizerError

WHERE_TO_GET_IT = (
    "Name one with --benchmark-bin: prebuilt Android binaries are on LiteRT's release page"
    " (github.com/google-ai-edge/LiteRT/releases), or build //tflite/tools/benchmark:benchmark_model"
)
DELEGATES = ("cpu", "xnnpack", "gpu", "npu")
# use_xnnpack is always set: left away, the runtime would put XNNPACK below every other delegate.
_DELEGATE_FLAGS = {
    "cpu": ["--use_xnnpack=false"],
    "xnnpack": ["--use_xnnpack=true"],
    "gpu": ["--use_xnnpack=false", "--use_gpu=true"],
    "npu": ["--use_xnnpack=false", "--use_nnapi=true", "--disable_nnapi_cpu=true"],
}
_LOG_NAMES = {"xnnpack": "XNNPACK", "gpu": "GPU", "npu": "(?:NNAPI|EXTERNAL)"}
_NUMBER = r"([-+.\de]+)"
_TIMINGS = re.compile(
    rf"Inference timings in us: Init: {_NUMBER}, First inference: {_NUMBER}, Warmup \(avg\): {_NUMBER}"
)
_COUNT = re.compile(r"\bcount=\d+ .*")
_FIELD = re.compile(r"(\w+)=([-+.\de]+)")
_MEMORY = re.compile(
    rf"Memory footprint delta from the start of the tool \(MB\): init={_NUMBER} overall={_NUMBER}"
)
_PEAK = re.compile(rf"Overall peak memory footprint \(MB\) via periodic monitoring: {_NUMBER}")
_REPLACED = re.compile(
    r"Replacing (\d+) out of (\d+) node\(s\) with delegate \((\w+)\) node, yielding (\d+) part"
)


class BenchmarkModelError(MVStylizerError):
    """There is no ``benchmark_model``, the phone cannot run it, or its log is another's."""


class NpuLibrary(NamedTuple):
    """An NPU vendor's TFLite delegate, for phones whose NPU NNAPI does not reach (Android 15 has none).

    Attributes:
        files: The delegate, then the libraries that it loads.
        options: Of the delegate, for example ``backend_type:htp;htp_performance_mode:2``.
    """

    files: tuple[Path, ...]
    options: str = ""


class Latency(NamedTuple):
    """One measurement of ``benchmark_model``, times in µs.

    Attributes:
        init: Loading, delegation and allocation.
        first: The first inference, a warm-up run.
        warmup_mean: Of the warm-up runs.
        runs: Measured ones.
        mean: Of the measured runs, as are the following.
        std: Standard deviation.
        min: Fastest.
        max: Slowest.
        percentiles: By name, ``p50`` and whatever else the binary prints (``p5``, ``p95``).
    """

    init: float
    first: float
    warmup_mean: float
    runs: int
    mean: float
    std: float
    min: float
    max: float
    percentiles: dict[str, float]


class Delegation(NamedTuple):
    """How much of the graph a delegate took.

    Attributes:
        wanted: ``cpu`` is none.
        share: ``full``, ``partial``, ``none``, or ``not wanted``.
        nodes: Nodes of the graph that it took; None if the log does not tell.
        of_nodes: Nodes of the graph; None if the log does not tell.
        partitions: Into which it took them; None if the log does not tell.
    """

    wanted: str
    share: str
    nodes: int | None
    of_nodes: int | None
    partitions: int | None


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
        folder: On the phone; the names that follow lie in it.
        program: Name of the binary.
        graph: Name of the kernel.
        inputs: Tensor → (shape, name of the file with its bytes), in the interpreter's order.
        delegate: One of `DELEGATES`.
        threads: Of the interpreter.
        mask: Of the cores, for taskset; None leaves it to the scheduler.
        flags: More of them.
        npu: What `delegate` ``npu`` is; None is NNAPI. Its files lie in `folder`.
    """
    shapes = ":".join(",".join(map(str, shape)) for shape, _ in inputs.values())
    files = ",".join(f"{name}:{folder}/{file}" for name, (_, file) in inputs.items())
    environment, delegate_flags = [], _DELEGATE_FLAGS[delegate]
    if npu and delegate == "npu":
        environment = [f"LD_LIBRARY_PATH={folder}", f"ADSP_LIBRARY_PATH={folder}"]
        delegate_flags = ["--use_xnnpack=false", f"--external_delegate_path={folder}/{npu.files[0].name}"]
        delegate_flags += [f"--external_delegate_options={npu.options}"] if npu.options else []
    words = [
        *environment, *(["taskset", mask] if mask else []), f"{folder}/{program}",
        f"--graph={folder}/{graph}", f"--input_layer={','.join(inputs)}", f"--input_layer_shape={shapes}",
        f"--input_layer_value_files={files}", f"--num_threads={threads}", *delegate_flags, *flags,
    ]  # fmt: skip
    return f"{shlex.join(words)} 2>&1"


def latency_flags(runs: int, min_seconds: float, warmup_seconds: float) -> list[str]:
    """Flags of a latency run: nothing is switched on that would disturb it."""
    return [f"--num_runs={runs}", f"--min_secs={min_seconds:g}", f"--warmup_min_secs={warmup_seconds:g}"]


def check_flags(output: str) -> list[str]:
    """Flags of the run that writes the output tensors and watches the memory, which slows it down."""
    return [
        "--num_runs=1", "--min_secs=0", "--warmup_min_secs=0", f"--output_filepath={output}",
        "--report_peak_memory_footprint=true", "--memory_footprint_check_interval_ms=5",
    ]  # fmt: skip


def profile_flags(runs: int) -> list[str]:
    """Flags of the run that times each operator, which slows the whole down."""
    return [
        f"--num_runs={runs}", "--min_secs=0", "--enable_op_profiling=true", "--op_profiling_output_mode=csv",
    ]  # fmt: skip


def parse_latency(log: str) -> Latency:
    """Read a latency run's log.

    Raises:
        BenchmarkModelError: The log lacks the figures.
    """
    timings = _TIMINGS.search(log)
    counts = _COUNT.findall(log)
    fields = {name: float(value) for name, value in _FIELD.findall(counts[-1])} if counts else {}
    if timings is None or not fields:
        raise BenchmarkModelError("The binary's log has no timings: it is not TFLite's benchmark_model")
    # A count of one, or all runs alike, is written as "count=50 curr=812(all same)".
    same = fields.get("curr", 0.0)
    percentiles = {name: value for name, value in fields.items() if re.fullmatch(r"p\d+", name)}
    if "median" in fields:
        percentiles["p50"] = fields["median"]
    return Latency(
        init=float(timings[1]),
        first=float(timings[2]),
        warmup_mean=float(timings[3]),
        runs=int(fields["count"]),
        mean=fields.get("avg", same),
        std=fields.get("std", 0.0),
        min=fields.get("min", same),
        max=fields.get("max", same),
        percentiles=percentiles,
    )


def parse_memory(log: str) -> dict[str, float]:
    """Read MB after ``init``, ``overall`` and at the ``peak``; a key is missing if the log lacks it."""
    found = {}
    if delta := _MEMORY.search(log):
        found = {"init": float(delta[1]), "overall": float(delta[2])}
    if peak := _PEAK.search(log):
        found["peak"] = float(peak[1])
    return found


def parse_delegation(log: str, delegate: str) -> Delegation:
    """Read what the wanted delegate took. No word of it (a binary built without it) counts as none."""
    if delegate == "cpu":
        return Delegation(delegate, "not wanted", None, None, None)
    name = _LOG_NAMES[delegate]
    share = "none"
    if re.search(rf"Explicitly applied {name} delegate, and the model graph will be completely", log):
        share = "full"
    elif re.search(rf"Explicitly applied {name} delegate, and the model graph will be partially", log):
        share = "partial"
    replaced = _REPLACED.findall(log)
    nodes, of_nodes, _, partitions = replaced[-1] if replaced else (None, None, None, None)
    return Delegation(delegate, share, *(int(n) if n else None for n in (nodes, of_nodes, partitions)))


def parse_profile(log: str) -> list[dict[str, Any]]:
    """Read the profiling run's table by operator: type, count, ms and share of each.

    Returns:
        Rows ``{type, count, ms, percent}``, slowest first; empty if the log has no such table.
    """
    # The initialisation has such a table before, a delegate's own operators may have one behind.
    runs = log.partition("Profiling Info for Regular Benchmark Runs")[2]
    table = runs.partition("Summary by node type")[2].partition("\n")[2].strip().partition("\n\n")[0]
    rows = list(csv.DictReader(table.splitlines(), skipinitialspace=True))
    wanted = {"node type", "count", "avg_ms", "avg %"}
    if not rows or not wanted <= set(rows[0]):
        return []
    return [
        {
            "type": row["node type"], "count": int(row["count"]), "ms": float(row["avg_ms"]),
            "percent": float(row["avg %"].rstrip("%")),
        }
        for row in rows
    ]  # fmt: skip


def evidence(log: str) -> list[str]:
    """Return the log's lines about delegation and trouble, as they stand."""
    words = ("delegate", "ERROR", "error:", "Failed", "Unconsumed")
    return [line.strip() for line in log.splitlines() if any(word in line for word in words)]
