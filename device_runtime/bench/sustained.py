"""A configuration over minutes: the first minute of a phone is not its thirtieth."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import fmean, quantiles
from typing import Any

from device_runtime.bench.phone import PhoneState

_MINUTE_S = 60.0


def sustain(
    run: Callable[[], float],
    read: Callable[[], PhoneState],
    minutes: int,
    now: Callable[[], float] = time.monotonic,
) -> list[dict[str, Any]]:
    """Repeat a short run for some minutes and summarize each minute.

    Args:
        run: Runs for about a second and returns its median latency in µs.
        read: Reads the phone's state, once a minute.
        minutes: Duration.
        now: Clock in seconds.

    Returns:
        A row for each minute: ``minute`` from 1, ``runs``, ``p50`` and ``p90`` of the runs' medians in µs,
        ``battery_c``, ``skin_c``, ``headroom``, ``battery_ma`` and ``mean_khz``, the mean clock of the cores.
    """
    began, rows = now(), []
    for minute in range(1, minutes + 1):
        medians = [run()]
        while now() - began < minute * _MINUTE_S:
            medians.append(run())
        state = read()
        rows.append(
            {
                "minute": minute,
                "runs": len(medians),
                "p50": percentile(medians, 50),
                "p90": percentile(medians, 90),
                "battery_c": state.battery_c,
                "skin_c": state.skin_c,
                "headroom": state.headroom,
                "battery_ma": state.battery_ma,
                "mean_khz": fmean(state.clocks_khz.values()) if state.clocks_khz else None,
            }
        )
    return rows


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile, interpolated between neighbors; of a single value, itself."""
    if len(values) == 1:
        return values[0]
    return quantiles(values, n=100, method="inclusive")[percent - 1]
