"""The harness: timing, results and their schema, comparison, text."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from benchmarks import machine
from benchmarks.harness import compare
from benchmarks.harness.registry import BENCHES, Bench, Table, UnknownBenchError, bench
from benchmarks.harness.result import Figure, Result, ResultError, Row, Spread, find, read, write
from benchmarks.harness.run_all import run_every
from benchmarks.harness.tables import aligned, markdown, number, span
from benchmarks.harness.timing import measure, measure_in_blocks, spread

FIGURES = {
    "seconds": Figure("s", "how long", "lower", 0.1),
    "score": Figure("ratio", "how good", "higher", 0.01),
    "count": Figure("", "how many"),
}
ABOUT = {
    "date": "2026-01-02T03:04:05+00:00",
    "commit": "0123456789abcdef",
    "changed": False,
    "quick": True,
    "threads": 2,
    "seconds": 1.5,
    "versions": {"python": "3.11"},
    "machine": {
        "cpu": "a cpu",
        "cores": 2,
        "memory_gib": 8.0,
        "system": "Linux",
        "gpu": None,
        "load": [0.1, 0.2],
        "gmacs_per_second": [50.0, 51.0],
    },
}


def document(**figures: Any) -> dict[str, Any]:
    return Result("table1", FIGURES, [Row({"model": "one"}, figures)]).document(ABOUT)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A clock that advances only on request, so that durations are exact."""
    now = 0.0

    def pass_(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr("benchmarks.harness.timing.time.perf_counter", lambda: now)
    return pass_


def test_rounds_alternate_their_order(clock: Callable[[float], None]) -> None:
    calls: list[str] = []

    def case(name: str, seconds: float) -> Callable[[], object]:
        return lambda: (calls.append(name), clock(seconds))

    times = measure({"a": case("a", 0.5), "b": case("b", 2.0)}, repeats=3)
    assert calls == ["a", "b", "a", "b", "a", "b", "b", "a", "a", "b"]  # warm-up, how long, three rounds
    assert times == {"a": Spread(0.5, 0.5, 0.5, 3), "b": Spread(2.0, 2.0, 2.0, 3)}


def test_short_calls_are_repeated_within_a_sample(clock: Callable[[float], None]) -> None:
    calls = []
    seconds = measure({"": lambda: (calls.append(1), clock(1e-5))}, repeats=3)[""]
    assert len(calls) == 2 + 3 * 200
    assert seconds.median == pytest.approx(1e-5)


def test_fast_cases_are_timed_in_blocks_after_a_slow_one(clock: Callable[[float], None]) -> None:
    calls: list[str] = []
    speed = [1.0]

    def case(name: str, seconds: float) -> Callable[[], object]:
        return lambda: (calls.append(name), clock(seconds * speed[-1]))

    def slow() -> None:
        speed.append(float(len(speed)))  # the machine is slower from block to block
        case("slow", 8.0)()

    times, per_block = measure_in_blocks(slow, {"a": case("a", 0.5)}, blocks=2, repeats=3, name="slow")
    assert calls == ["slow", *2 * ["slow", *6 * ["a"]]]  # of six: warm-up twice, how long, three rounds
    assert times["a"] == Spread(1.25, 1.0, 1.5, 6)
    assert per_block["slow"] == Spread(20.0, 16.0, 24.0, 2)
    assert per_block["a"] == Spread(1.25, 1.0, 1.5, 2)
    assert per_block.ratio("slow", "a") == Spread(16.0, 16.0, 16.0, 2)


def test_a_spread_is_median_minimum_and_maximum() -> None:
    assert spread([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0, 3)


def test_a_result_is_written_atomically_and_read_back(tmp_path: Path) -> None:
    made = document(seconds=Spread(1.0, 0.9, 1.2, 3), score=0.5, count=None)
    assert "score" in made["figures"]
    path = tmp_path / "new" / "table1.json"
    write(made, path)
    assert read(path) == made
    assert [each.name for each in path.parent.iterdir()] == ["table1.json"]
    assert find(read(path), model="one") == made["results"][0]["figures"]
    assert find(read(path), model="two") is None


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"schema": "mvstylizer.bench/0"}, "has the schema mvstylizer.bench/0, expected mvstylizer.bench/1"),
        ({"results": [{"case": {}, "figures": {}}]}, "case"),
        ({"results": [{"case": {"a": 1}, "figures": {"x": "fast"}}]}, "figures"),
        ({"metadata": {**ABOUT, "threads": 0}}, "threads"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_document_that_does_not_match_the_schema_is_rejected(
    change: dict[str, Any], where: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({**document(score=1.0), **change}))
    with pytest.raises(ResultError, match=where):
        read(path)


def test_files_that_are_not_results_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="No such file"):
        read(tmp_path / "none.json")
    (tmp_path / "half.json").write_text('{"schema": ')
    with pytest.raises(ResultError, match="not JSON"):
        read(tmp_path / "half.json")
    with pytest.raises(ResultError, match="Cannot write"):
        write(document(score=1.0), tmp_path / "half.json" / "x.json")


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([Row({"a": 1}, {}), Row({"a": 1}, {})], "duplicate case"),
        ([Row({"a": 1}, {"speed": 1.0})], "undefined figure"),
        ([Row({"a": 1}, {"score": float("nan")})], "nan"),
    ],
)
def test_an_inconsistent_result_cannot_be_created(rows: list[Row], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Result("table1", FIGURES, rows)


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ({"seconds": 1.0}, {"seconds": 1.05}, "same"),
        ({"seconds": 1.0}, {"seconds": 1.5}, "worse"),
        ({"seconds": 1.5}, {"seconds": 1.0}, "better"),
        ({"score": 0.5}, {"score": 0.6}, "better"),
        ({"score": 0.6}, {"score": 0.5}, "worse"),
        ({"count": 3}, {"count": 4}, "changed"),
        ({"score": 0.5}, {}, "gone"),
        ({}, {"score": 0.5}, "new"),
        ({"score": None}, {"score": None}, "same"),
        ({"seconds": Spread(1, 0.9, 1.4, 5)}, {"seconds": Spread(1.5, 1.3, 1.7, 5)}, "same"),
        ({"seconds": Spread(1, 0.9, 1.1, 5)}, {"seconds": Spread(1.5, 1.3, 1.7, 5)}, "worse"),
        ({"seconds": 1.0}, {"seconds": Spread(1.5, 0.9, 1.7, 5)}, "same"),
        ({"seconds": Spread(1, 0.9, 1.1, 5)}, {"seconds": 1.3}, "worse"),
    ],
)
def test_a_comparison_distinguishes_noise_from_change(
    before: dict[str, Any], after: dict[str, Any], verdict: str
) -> None:
    (change,) = compare.compare(document(**before), document(**after))
    assert change.verdict == verdict
    table = compare.as_table([change], 0.0)
    assert len(table.rows) == (verdict != "same")
    assert compare.as_dict([change], 0.0)["counts"][verdict] == 1


def test_the_machines_slowdown_is_reported_and_does_not_affect_verdicts() -> None:
    first, second = document(seconds=1.0), deepcopy(document(seconds=1.2))
    second["metadata"]["machine"]["gmacs_range"] = [30.0, 50.0]  # the fastest of both is 51
    moved = compare.machine_moved(first, second)
    assert moved == pytest.approx(1 - 30 / 51)
    changes = compare.compare(first, second)
    assert [change.verdict for change in changes] == ["worse"]
    assert compare.as_table(changes, moved).caption.endswith("speed varied by 41%.")
    assert compare.as_dict(changes, moved)["machine_moved"] == moved


def test_the_machines_speed_is_recorded_between_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = iter([50.0, 20.0, 60.0, 40.0])
    monkeypatch.setattr(machine, "gmacs_per_second", lambda: next(speeds))
    earlier = {thread for thread in threading.enumerate() if thread is not threading.current_thread()}
    running = threading.enumerate
    monkeypatch.setattr(threading, "enumerate", lambda: [each for each in running() if each not in earlier])
    watch = machine.Watch(2, quick=True)
    watch.look()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(watch.look).result()
        watch.look()  # skipped in another thread and while one is running
    watch.look()
    about = watch.metadata()["machine"]
    assert about["gmacs_per_second"] == [50.0, 40.0]
    assert about["gmacs_range"] == [20.0, 60.0]


def test_results_of_different_benchmarks_cannot_be_compared() -> None:
    with pytest.raises(ResultError, match="table1 with table2"):
        compare.compare(document(score=1.0), {**document(score=1.0), "bench": "table2"})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0006, "0.000600"),
        (1.515, "1.51"),
        (866.7, "867"),
        (40000, "40000"),
        (0, "0"),
        (None, "–"),
        ({"median": 2.0, "min": 1.0, "max": 3.0, "runs": 3}, "2.00"),
    ],
)
def test_figures_have_three_significant_digits(value: Any, text: str) -> None:
    assert number(value) == text


def test_tables_as_text() -> None:
    table = Table("T", ["a", "bb"], [["ccc", "d"]], "why")
    assert markdown(table) == "| a | bb |\n| --- | --- |\n| ccc | d |\n\nwhy"
    assert aligned(table) == "T\na    bb\nccc  d\nwhy"
    assert span({"median": 2.0, "min": 1.0, "max": 3.0, "runs": 3}) == "2.00 (1.00–3.00)"


def test_every_benchmark_has_a_module_and_unknown_names_are_rejected() -> None:
    assert len({each.name for each in BENCHES}) == len(BENCHES)
    for each in BENCHES:
        module = each.load()
        assert callable(module.run)
        assert callable(module.tables)
    with pytest.raises(UnknownBenchError, match="table9"):
        bench("table9")


def test_metadata_describes_the_machine_and_matches_the_schema(tmp_path: Path) -> None:
    about = machine.Watch(2, quick=True).metadata()
    write({**document(score=1.0), "metadata": about}, tmp_path / "x.json")
    assert about["machine"]["gmacs_per_second"][0] > 0
    assert about["versions"]["numpy"] == __import__("numpy").__version__
    assert about["commit"] is None or len(about["commit"]) == 40


def test_a_process_can_be_pinned_to_cores() -> None:
    program = (
        "from benchmarks.machine import pin; import os; n = pin(1); print(n, len(os.sched_getaffinity(0)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1"]
    assert len(os.sched_getaffinity(0)) >= 1


def test_running_all_continues_after_a_failure(tmp_path: Path) -> None:
    lines: list[str] = []
    unknown = [Bench("nosuch", "not there"), Bench("neither", "not there")]
    outcomes = run_every(unknown, tmp_path, quick=True, threads=1, progress=lines.append)
    assert [outcome.exit_code for outcome in outcomes] == [2, 2]
    assert len(lines) == 2
