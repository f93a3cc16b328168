from __future__ import annotations

import numpy as np
import pytest

from device_runtime.bench.phone import PhoneState
from device_runtime.bench.sustained import percentile, sustain


def test_each_minute_has_its_own_percentiles_and_state() -> None:
    clock = [0.0]

    def run() -> float:
        clock[0] += 10
        return 1000.0 if clock[0] <= 60 else 1500.0 + clock[0]

    temperatures = iter([31.0, 36.5])

    def read() -> PhoneState:
        return PhoneState(80, next(temperatures), True, 0, {0: 1000, 1: 3000}, {}, {}, skin_c=35.0)

    first, second = sustain(run, read, 2, now=lambda: clock[0])
    assert (first["minute"], first["runs"], first["p50"], first["p90"]) == (1, 6, 1000, 1000)
    assert (second["runs"], second["p50"]) == (6, np.percentile([1570, 1580, 1590, 1600, 1610, 1620], 50))
    assert second["p90"] == pytest.approx(np.percentile([1570, 1580, 1590, 1600, 1610, 1620], 90))
    assert [row["battery_c"] for row in (first, second)] == [31.0, 36.5]
    assert (first["mean_khz"], first["skin_c"], first["battery_ma"]) == (2000, 35.0, None)


def test_a_run_longer_than_a_minute_still_counts() -> None:
    clock = [0.0]

    def run() -> float:
        clock[0] += 90
        return clock[0]

    rows = sustain(run, lambda: PhoneState(None, None, None, None, {}, {}, {}), 2, now=lambda: clock[0])
    assert [(row["runs"], row["p50"]) for row in rows] == [(1, 90), (1, 180)]
    assert rows[0]["mean_khz"] is None


@pytest.mark.parametrize("percent", [50, 90])
def test_percentiles_are_those_of_numpy(percent: int) -> None:
    values = list(np.random.default_rng(0).normal(1000, 50, 61))
    assert percentile(values, percent) == pytest.approx(np.percentile(values, percent))
    assert percentile([3.0], percent) == 3.0
