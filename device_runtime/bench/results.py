"""A benchmark's rows: as JSON lines with a schema, as a Markdown table, and against an earlier run.

A row of schema `SCHEMA` has:

- ``run_id``, ``time``, ``host``, ``phone`` (`phone.PhoneRecord`), ``tool`` and ``npu`` (with SHA-256), and
  ``bundle``;
- ``config`` (kernel, resolution, delegate, threads, affinity mask, shapes of the inputs, invocations a frame
  takes, effort) and ``kernel_sha256``;
- ``latency_us`` (`latency_row`; null for a row that failed or is wrong), ``frame_ms`` (mean × invocations a
  frame takes, on one interpreter, without the caller's work), ``memory_mb``, ``profile`` by operator;
- ``delegation``, ``parity``, ``evidence`` (lines of the log), ``states`` (`phone.PhoneState` before the first
  and after each repeat), ``cooling``;
- ``verdict`` (`verdict.VERDICTS`) and ``reasons``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from device_runtime.bench.benchmark_model import Latency
from device_runtime.bench.phone import PhoneState
from mvstylizer.errors import MVStylizerError

SCHEMA = "mvstylizer.bench.device/1"
# A change of the median below this is within what one phone shows from day to day.
NOTABLE = 0.05

_COMPARED = {"config", "kernel_sha256", "latency_us", "phone", "verdict"}

Row = dict[str, Any]


class ResultsError(MVStylizerError):
    """A file of results cannot be read."""


class Change(NamedTuple):
    """A configuration's median then and now, µs.

    Attributes:
        config: As `config_key` gives it.
        before: Of the earlier run.
        now: Of this run.
        ratio: now / before.
        meaning: ``slower``, ``faster``, ``same``, or ``not comparable`` (a row that is not valid, or whose
            kernel or phone is another).
    """

    config: str
    before: float
    now: float
    ratio: float
    meaning: str


def latency_row(repeats: Sequence[Latency]) -> Row:
    """Sum up the repeats, in µs.

    Args:
        repeats: At least one.

    Returns:
        ``mean`` weighs the repeats by their runs; each percentile is the median of the repeats' own, and None
        where the binary prints none (benchmark_model has p5, p50 and p95: p90 lies between the last two);
        ``init`` and ``first`` are medians; ``repeats`` holds each repeat's figures.
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
    """Return a state as JSON: clocks by core as ``{"4": 2457600}``."""
    return asdict(state)


def append(path: Path, row: Row) -> None:
    """Add a row to a JSON lines file, made if missing. A row is whole or not there.

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
    """Read the rows of a file; of rows with one configuration the last counts.

    Raises:
        ResultsError: It is missing, no JSON lines, or has another schema.
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
            raise ResultsError(f"{path}, line {number} is no JSON") from err
        if not isinstance(row, dict) or row.get("schema") != SCHEMA or not row.keys() >= _COMPARED:
            raise ResultsError(f"{path}, line {number} is no row of schema {SCHEMA}")
        rows[config_key(row)] = row
    return list(rows.values())


def config_key(row: Mapping[str, Any]) -> str:
    """Return what tells a row from the others of a run, for example ``warp 512x256 gpu 1``."""
    config = row["config"]
    width, height = config["resolution"]
    return f"{config['kernel']} {width}x{height} {config['delegate']} {config['threads']}"


def compare(earlier: Sequence[Row], rows: Sequence[Row]) -> list[Change]:
    """Set rows against an earlier run's of the same configuration; rows without latency are left out."""
    before = {config_key(row): row for row in earlier}
    return [
        _change(before[config_key(row)], row)
        for row in rows
        if row["latency_us"] and before.get(config_key(row), {}).get("latency_us")
    ]


def markdown(rows: Sequence[Row], changes: Sequence[Change] = ()) -> str:
    """Return the rows as a Markdown table, and the changes as a second one."""
    head = [
        "kernel", "resolution", "delegate", "threads", "init ms", "first ms", "mean ms", "p50 ms", "p95 ms",
        "frame ms", "peak MB", "verdict",
    ]  # fmt: skip
    text = _table(head, [_cells(row) for row in rows])
    if changes:
        cells = [
            [change.config, _ms(change.before), _ms(change.now), f"{change.ratio:.2f}", change.meaning]
            for change in changes
        ]
        text += "\n" + _table(["configuration", "p50 before", "p50 now", "ratio", ""], cells)
    return text


def _percentile(repeats: Sequence[Latency], name: str) -> float | None:
    values = [repeat.percentiles[name] for repeat in repeats if name in repeat.percentiles]
    return median(values) if len(values) == len(repeats) else None


def _change(before: Row, now: Row) -> Change:
    then, here = (_typical(row) for row in (before, now))
    ratio = here / then
    same_thing = (
        before["kernel_sha256"] == now["kernel_sha256"]
        and before["phone"]["model"] == now["phone"]["model"]
        and before["verdict"] == now["verdict"]
        and now["verdict"] in ("valid", "fallback")
    )
    meaning = "slower" if ratio > 1 + NOTABLE else "faster" if ratio < 1 - NOTABLE else "same"
    return Change(config_key(now), then, here, ratio, meaning if same_thing else "not comparable")


def _typical(row: Row) -> float:
    latency = row["latency_us"]
    return float(latency["mean"] if latency["p50"] is None else latency["p50"])


def _cells(row: Row) -> list[str]:
    latency, config = row["latency_us"] or {}, row["config"]
    width, height = config["resolution"]
    figures = [_ms(latency.get(name)) for name in ("init", "first", "mean", "p50", "p95")]
    peak = row["memory_mb"].get("peak")
    return [
        config["kernel"], f"{width}x{height}", config["delegate"], str(config["threads"]), *figures,
        "" if row["frame_ms"] is None else f"{row['frame_ms']:.1f}", "" if peak is None else f"{peak:.1f}",
        row["verdict"],
    ]  # fmt: skip


def _ms(microseconds: float | None) -> str:
    return "" if microseconds is None else f"{microseconds / 1000:.3f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
