"""Benchmark results: JSON lines with a schema, a Markdown table, and a comparison with an earlier run.

A row of schema `SCHEMA` has:

- ``run_id``, ``time``, ``host``, ``phone`` (`phone.PhoneRecord`), ``tool`` and ``npu`` (with SHA-256), and
  ``bundle``;
- ``config`` (kernel, resolution, delegate, threads, affinity mask, input shapes, invocations per frame,
  repeats and runs) and ``kernel_sha256``;
- ``latency_us`` (`latency_row`; null for a row that failed or is wrong), ``frame_ms`` (mean × invocations per
  frame, on one interpreter, without the caller's work), ``memory_mb``, ``profile`` by operator;
- ``delegation``, ``parity``, ``evidence`` (lines of the log), ``states`` (`phone.PhoneState` before the first
  and after each repeat), ``cooling``;
- ``verdict`` (`verdict.VERDICTS`) and ``reasons``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from device_runtime.bench.benchmark_log import Latency
from device_runtime.bench.phone import PhoneState
from device_runtime.bench.plan import Config
from mvstylizer.errors import MVStylizerError

SCHEMA = "mvstylizer.bench.device/1"
MIN_CHANGE = 0.05  # of the median; smaller changes occur on one phone from day to day

EMULATED = "The phone is emulated, so its times mean nothing."
_TIMES = ("init", "first", "mean", "p50", "p95")
_COMPARED = {"config", "kernel_sha256", "latency_us", "phone", "verdict"}

Row = dict[str, Any]


class ResultsError(MVStylizerError):
    """Error raised when a file of results cannot be read or written."""


class LatencyChange(NamedTuple):
    """A configuration's median latency in two runs, in µs.

    Attributes:
        config: The configuration, from `config_key`.
        before: Median of the earlier run.
        now: Median of this run.
        ratio: now / before.
        meaning: ``slower``, ``faster``, ``same``, or ``not comparable`` (a row is invalid, or the kernel or
            phone differs).
    """

    config: str
    before: float
    now: float
    ratio: float
    meaning: str


def latency_row(repeats: Sequence[Latency]) -> Row:
    """Combine the repeats, in µs.

    Args:
        repeats: Latency runs, at least one.

    Returns:
        ``mean`` weights the repeats by their runs; each percentile is the median over the repeats, or None if
        the binary does not print it (benchmark_model prints p5, p50 and p95, not p90); ``init`` and ``first``
        are medians; ``repeats`` has the figures of each repeat.
    """
    runs = sum(repeat.runs for repeat in repeats)
    return {
        "init": median(repeat.init for repeat in repeats),
        "first": median(repeat.first for repeat in repeats),
        "mean": sum(repeat.mean * repeat.runs for repeat in repeats) / runs,
        **{name: _percentile(repeats, name) for name in ("p50", "p90", "p95")},
        "min": min(repeat.min for repeat in repeats),
        "max": max(repeat.max for repeat in repeats),
        "runs": runs,
        "repeats": [repeat._asdict() for repeat in repeats],
    }


def state_row(state: PhoneState) -> Row:
    """Return a state as JSON-serializable values, with clocks by core as ``{"4": 2457600}``."""
    return asdict(state)


def append(path: Path, row: Row) -> None:
    """Append a row to a JSON lines file, created if missing.

    Raises:
        ResultsError: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as stream:
            stream.write(json.dumps(row) + "\n")
    except OSError as err:
        raise ResultsError(f"Cannot write {path}: {err.strerror}") from err


def read(path: Path) -> list[Row]:
    """Read the rows of a file; a later row replaces an earlier one of the same configuration.

    Raises:
        ResultsError: It is missing, is not JSON lines, or has another schema.
    """
    return read_rows(path, SCHEMA, _COMPARED, config_key)


def read_rows(path: Path, schema: str, required: Set[str], key: Callable[[Row], str]) -> list[Row]:
    """Read the rows of a file of a schema; see `read`.

    Args:
        path: The file.
        schema: Schema of its rows.
        required: Keys that a row must have.
        key: Returns the key of a row's configuration.

    Raises:
        ResultsError: See `read`.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise ResultsError(f"Cannot read {path}: {err}") from err
    rows: dict[str, Row] = {}
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError as err:
            raise ResultsError(f"{path}, line {number} is not JSON") from err
        if not isinstance(row, dict) or row.get("schema") != schema or not row.keys() >= required:
            raise ResultsError(f"{path}, line {number} is not a row of schema {schema}", "Measure again")
        rows[key(row)] = row
    return list(rows.values())


def config_key(row: Mapping[str, Any]) -> str:
    """Return the key of a row within a run, for example ``warp 512x256 gpu 1``."""
    config = row["config"]
    width, height = config["resolution"]
    return f"{config['kernel']} {width}x{height} {config['delegate']} {config['threads']}"


def key_of(config: Config) -> str:
    """Return the key that a configuration's row will have."""
    return f"{config.kernel} {config.width}x{config.height} {config.delegate} {config.threads}"


def compare(earlier: Sequence[Row], rows: Sequence[Row]) -> list[LatencyChange]:
    """Compare rows with those of an earlier run of the same configuration, omitting rows without latency."""
    before = {config_key(row): row for row in earlier}
    return [
        _change(before[config_key(row)], row)
        for row in rows
        if row["latency_us"] and before.get(config_key(row), {}).get("latency_us")
    ]


def markdown(rows: Sequence[Row], changes: Sequence[LatencyChange] = ()) -> str:
    """Return the rows as a Markdown table, followed by a table of the changes."""
    times = [f"{name} ms" for name in (*_TIMES, "frame")]
    head = ["kernel", "resolution", "delegate", "threads", *times, "peak MB", "verdict"]
    text = markdown_table(head, [_cells(row) for row in rows])
    if changes:
        cells = [
            [change.config, _ms(change.before), _ms(change.now), f"{change.ratio:.2f}", change.meaning]
            for change in changes
        ]
        text += "\n" + markdown_table(["configuration", "p50 before", "p50 now", "ratio", ""], cells)
    minutes = [_minute(row, minute) for row in rows for minute in row.get("sustained", ())]
    if minutes:
        head = ["configuration", "minute", "p50 ms", "p90 ms", "battery °C", "skin °C", "mA", "mean MHz"]
        text += "\n" + markdown_table(head, minutes)
    if any(row["phone"].get("emulated") for row in rows):
        text += f"\n{EMULATED}\n"
    return text


def _percentile(repeats: Sequence[Latency], name: str) -> float | None:
    values = [repeat.percentiles[name] for repeat in repeats if name in repeat.percentiles]
    return median(values) if len(values) == len(repeats) else None


def _change(before: Row, now: Row) -> LatencyChange:
    then, here = (_typical(row) for row in (before, now))
    ratio = here / then
    same_thing = (
        before["kernel_sha256"] == now["kernel_sha256"]
        and before["phone"]["model"] == now["phone"]["model"]
        and before["verdict"] == now["verdict"]
        and now["verdict"] in ("valid", "unchecked", "fallback")
    )
    meaning = "slower" if ratio > 1 + MIN_CHANGE else "faster" if ratio < 1 - MIN_CHANGE else "same"
    return LatencyChange(config_key(now), then, here, ratio, meaning if same_thing else "not comparable")


def _typical(row: Row) -> float:
    latency = row["latency_us"]
    return float(latency["mean"] if latency["p50"] is None else latency["p50"])


def _cells(row: Row) -> list[str]:
    latency, config = row["latency_us"] or {}, row["config"]
    width, height = config["resolution"]
    times = [_ms(latency.get(name)) for name in _TIMES]
    frame, peak = _tenths(row["frame_ms"]), _tenths(row["memory_mb"].get("peak"))
    described = [config["kernel"], f"{width}x{height}", config["delegate"], str(config["threads"])]
    return [*described, *times, frame, peak, row["verdict"]]


def _minute(row: Row, minute: Row) -> list[str]:
    mean_mhz = None if minute["mean_khz"] is None else minute["mean_khz"] / 1000
    measured = [minute["battery_c"], minute["skin_c"], minute["battery_ma"], mean_mhz]
    times = [_ms(minute["p50"]), _ms(minute["p90"])]
    return [config_key(row), str(minute["minute"]), *times, *map(_tenths, measured)]


def _ms(microseconds: float | None) -> str:
    return "" if microseconds is None else f"{microseconds / 1000:.3f}"


def _tenths(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
