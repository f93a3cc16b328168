"""Parse the logs of both benchmark tools.

Log lines are those of google-ai-edge/LiteRT, ``tflite/tools/benchmark`` and ``litert/tools``; the summary of
the latter is in milliseconds. Percentiles are the binary's own; nothing is derived from mean and standard
deviation.
"""

from __future__ import annotations

import csv
import re
from typing import Any, NamedTuple

from device_runtime.bench.benchmark_model import BenchmarkModelError

_LOG_NAMES = {"xnnpack": "XNNPACK", "gpu": "GPU", "npu": "(?:NNAPI|EXTERNAL)"}
_NUMBER = r"([-+.\de]+)"
_TIMINGS = re.compile(
    rf"Inference timings in us: Init: {_NUMBER}, First inference: {_NUMBER}, Warmup \(avg\): {_NUMBER}"
)
# LiteRT's summary.
_INIT = re.compile(rf"Model initialization:\s*{_NUMBER} ms")
_WARMUP = re.compile(rf"Warmup \((first|avg)\):\s*{_NUMBER} ms")
_FOOTPRINT = re.compile(rf"(?:(Init|Overall) footprint|(Peak) memory):\s*{_NUMBER} MB")
_COUNT = re.compile(r"\bcount=\d+ .*")
_FIELD = re.compile(r"(\w+)=([-+.\de]+)")
_MEMORY = re.compile(
    rf"Memory footprint delta from the start of the tool \(MB\): init={_NUMBER} overall={_NUMBER}"
)
_PEAK = re.compile(rf"Overall peak memory footprint \(MB\) via periodic monitoring: {_NUMBER}")
_REPLACED = re.compile(
    r"Replacing (\d+) out of (\d+) node\(s\) with delegate \((\w+)\) node, yielding (\d+) part"
)


class Latency(NamedTuple):
    """One measurement of ``benchmark_model``, times in µs.

    Attributes:
        init: Loading, delegation and allocation.
        first: First inference, a warm-up run.
        warmup_mean: Mean of the warm-up runs.
        runs: Number of measured runs, to which the following figures refer.
        mean: Mean.
        std: Standard deviation.
        min: Fastest run.
        max: Slowest run.
        percentiles: By name: ``p50`` and any others that the binary prints (``p5``, ``p95``).
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
    """How much of the graph runs on a delegate.

    Attributes:
        wanted: The requested delegate; ``cpu`` means none.
        share: ``full``, ``partial``, ``none``, or ``not wanted``.
        nodes: Delegated nodes; None if not in the log.
        of_nodes: Nodes of the graph; None if not in the log.
        partitions: Number of delegated partitions; None if not in the log.
    """

    wanted: str
    share: str
    nodes: int | None
    of_nodes: int | None
    partitions: int | None


def parse_latency(log: str) -> Latency:
    """Parse the log of a latency run.

    Raises:
        BenchmarkModelError: The log does not contain the figures.
    """
    timings = _timings(log)
    counts = _COUNT.findall(log)
    fields = {name: float(value) for name, value in _FIELD.findall(counts[-1])} if counts else {}
    if timings is None or not fields:
        raise BenchmarkModelError("The binary's log has no timings: it is not a benchmark_model")
    # A single run, or equal runs, are printed as "count=50 curr=812(all same)".
    same = fields.get("curr", 0.0)
    percentiles = {name: value for name, value in fields.items() if re.fullmatch(r"p\d+", name)}
    if "median" in fields:
        percentiles["p50"] = fields["median"]
    return Latency(
        init=timings[0],
        first=timings[1],
        warmup_mean=timings[2],
        runs=int(fields["count"]),
        mean=fields.get("avg", same),
        std=fields.get("std", 0.0),
        min=fields.get("min", same),
        max=fields.get("max", same),
        percentiles=percentiles,
    )


def parse_memory(log: str) -> dict[str, float]:
    """Parse memory in MB after ``init``, ``overall`` and at the ``peak``; keys not in the log are omitted."""
    found = {}
    if delta := _MEMORY.search(log):
        found = {"init": float(delta[1]), "overall": float(delta[2])}
    if peak := _PEAK.search(log):
        found["peak"] = float(peak[1])
    for name, peak_name, value in _FOOTPRINT.findall(log):
        found[(name or peak_name).lower()] = float(value)
    return found


def _timings(log: str) -> tuple[float, float, float] | None:
    """Return initialization, first and mean warm-up run in µs, or None if the log has none."""
    if found := _TIMINGS.search(log):
        return float(found[1]), float(found[2]), float(found[3])
    warmup = {name: 1000 * float(value) for name, value in _WARMUP.findall(log)}
    if (init := _INIT.search(log)) and warmup.keys() >= {"first", "avg"}:
        return 1000 * float(init[1]), warmup["first"], warmup["avg"]
    return None


def parse_delegation(log: str, delegate: str, share: str | None = None) -> Delegation:
    """Parse how much the delegate took. If the log does not mention it (a binary built without it), none.

    Args:
        log: The log.
        delegate: The requested delegate.
        share: What is already known, because LiteRT's tool fails unless the accelerator takes all.
    """
    if delegate == "cpu":
        return Delegation(delegate, "not wanted", None, None, None)
    name = _LOG_NAMES[delegate]
    share = share or "none"
    if re.search(rf"Explicitly applied {name} delegate, and the model graph will be completely", log):
        share = "full"
    elif re.search(rf"Explicitly applied {name} delegate, and the model graph will be partially", log):
        share = "partial"
    replaced = _REPLACED.findall(log)
    nodes, of_nodes, _, partitions = replaced[-1] if replaced else (None, None, None, None)
    return Delegation(delegate, share, *(int(n) if n else None for n in (nodes, of_nodes, partitions)))


def parse_profile(log: str) -> list[dict[str, Any]]:
    """Parse the profiling run's table by operator.

    Returns:
        Rows ``{type, count, ms, percent}``, slowest first; empty if the log has no such table.
    """
    # There is a similar table for initialization before it, and maybe one for a delegate's operators after
    # it.
    runs = log.partition("Profiling Info for Regular Benchmark Runs")[2]
    table = runs.partition("Summary by node type")[2].partition("\n")[2].strip().partition("\n\n")[0]
    rows = list(csv.DictReader(table.splitlines(), skipinitialspace=True))
    wanted = {"node type", "count", "avg_ms", "avg %"}
    if not rows or not wanted <= set(rows[0]):
        return []
    return [
        {
            "type": row["node type"],
            "count": int(row["count"]),
            "ms": float(row["avg_ms"]),
            "percent": float(row["avg %"].rstrip("%")),
        }
        for row in rows
    ]


def evidence(log: str) -> list[str]:
    """Return the log's lines about delegation and errors, verbatim."""
    words = ("delegate", "ERROR", "error:", "Failed", "Unconsumed")
    return [line.strip() for line in log.splitlines() if any(word in line for word in words)]
