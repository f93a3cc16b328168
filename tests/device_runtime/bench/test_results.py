from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.bench import results
from device_runtime.bench.benchmark_log import Delegation, Latency
from device_runtime.bench.parity import Parity
from device_runtime.bench.phone import PhoneState
from device_runtime.bench.verdict import judge

GOOD = Parity(True, 0.0, 0.0, {})
FULL = Delegation("gpu", "full", 3, 3, 1)


def state(status: int | None = 0, ceiling: int = 2000) -> PhoneState:
    return PhoneState(80, 30.0, True, status, {}, {7: ceiling}, {})


def latency(mean: float, runs: int, **percentiles: float) -> Latency:
    return Latency(10, 20, 15, runs, mean, 1, mean - 5, mean + 5, percentiles)


def row(p50: float | None = 100.0, **other: Any) -> dict[str, Any]:
    config = {"kernel": "warp", "resolution": [512, 256], "delegate": "gpu", "threads": 1}
    figures = None if p50 is None else {"init": 1, "first": 2, "mean": 3, "p50": p50, "p95": None}
    return {
        "schema": results.SCHEMA,
        "config": config,
        "latency_us": figures,
        "kernel_sha256": "a",
        "phone": {"model": "Pixel 2"},
        "memory_mb": {},
        "frame_ms": None,
        "verdict": "valid",
        **other,
    }


def test_repeats_are_combined() -> None:
    found = results.latency_row([latency(100, 50, p50=99, p95=120), latency(400, 150, p50=398, p95=420)])
    assert found["mean"] == (100 * 50 + 400 * 150) / 200
    assert (found["p50"], found["p95"], found["p90"]) == (248.5, 270, None)
    assert (found["min"], found["max"], found["runs"]) == (95, 405, 200)
    assert found["repeats"][1]["percentiles"] == {"p50": 398, "p95": 420}


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=9))
def test_no_percentile_comes_from_mean_and_deviation(means: list[float]) -> None:
    found = results.latency_row([latency(mean, 50) for mean in means])
    assert (found["p50"], found["p90"], found["p95"]) == (None, None, None)


def test_rows_travel_through_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.jsonl"
    first, second = row(100), row(50, verdict="noisy")
    for each in (first, second):
        results.append(path, each)
    assert results.read(path) == [second]  # of one configuration the last counts


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"schema": "other/1"}', '"text"', f'{{"schema": "{results.SCHEMA}"}}']
)
def test_a_file_without_results_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row()) + "\n" + content + "\n")
    with pytest.raises(results.ResultsError, match="line 2"):
        results.read(path)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(results.ResultsError, match="Cannot read"):
        results.read(tmp_path / "nothing")
    with pytest.raises(results.ResultsError, match="Cannot write"):
        results.append(tmp_path, row())


@pytest.mark.parametrize(
    ("before", "now", "meaning"),
    [
        (row(100), row(104), "same"),
        (row(100), row(106), "slower"),
        (row(100), row(94), "faster"),
        (row(100, verdict="fallback"), row(90, verdict="fallback"), "faster"),
        (row(100, verdict="throttled"), row(90, verdict="throttled"), "not comparable"),
        (row(100, verdict="noisy"), row(90), "not comparable"),
        (row(100, kernel_sha256="b"), row(90), "not comparable"),
        (row(100, phone={"model": "Pixel 9"}), row(90), "not comparable"),
    ],
)
def test_comparison(before: dict[str, Any], now: dict[str, Any], meaning: str) -> None:
    (change,) = results.compare([before], [now])
    assert change.meaning == meaning
    assert change.ratio == now["latency_us"]["p50"] / before["latency_us"]["p50"]


def test_comparison_omits_rows_without_a_counterpart() -> None:
    other = row(config={**row()["config"], "threads": 4})
    assert results.compare([row(None), other], [row(100)]) == []
    assert results.compare([row(100)], [row(None)]) == []


def test_markdown() -> None:
    lines = results.markdown([row(1234), row(None, verdict="wrong")], results.compare([row()], [row(90)]))
    assert "| warp | 512x256 | gpu | 1 | 0.001 | 0.002 | 0.003 | 1.234 |  |  |  | valid |" in lines
    assert "| warp | 512x256 | gpu | 1 |  |  |  |  |  |  |  | wrong |" in lines
    assert "| warp 512x256 gpu 1 | 0.100 | 0.090 | 0.90 | faster |" in lines


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "valid"),
        ({"states": [state(None)]}, "valid"),
        ({"medians": [100, 110, 105]}, "valid"),
        ({"medians": [100, 150, 105]}, "noisy"),
        ({"delegation": Delegation("cpu", "not wanted", None, None, None)}, "valid"),
        ({"delegation": Delegation("gpu", "partial", 1, 3, 1), "medians": [1, 2]}, "fallback"),
        ({"states": [state(), state(1)], "delegation": Delegation("gpu", "none", 0, 3, 0)}, "throttled"),
        ({"states": [state(), state(ceiling=1500), state()]}, "throttled"),
        ({"states": [state(), state(ceiling=1500)], "cores": [4, 5]}, "valid"),
        ({"cool": False}, "throttled"),
        ({"parity": Parity(False, 9.0, 0.5, {}), "cool": False}, "wrong"),
    ],
)
def test_the_worst_reason_is_the_verdict(changes: dict[str, Any], verdict: str) -> None:
    case = {
        "parity": GOOD,
        "delegation": FULL,
        "cool": True,
        "states": [state(), state()],
        "cores": [7],
        "medians": [100.0, 101.0],
    }
    found = judge(**{**case, **changes})  # type: ignore[arg-type]
    assert found.name == verdict
    assert bool(found.reasons) == (verdict != "valid")
