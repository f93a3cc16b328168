"""Time cases beside each other: warmed up, interleaved, as medians with minimum and maximum.

Cases are run in rounds, each once a round, every other round backwards: what slows the machine for a while
then slows all of them, and ratios hold where absolute times do not.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from benchmarks.result import Spread

MIN_SAMPLE_SECONDS: Final = (
    2e-3  # shorter calls are repeated within a sample: the clock's own cost shows below
)
Work = Callable[[], object]


def measure(cases: Mapping[str, Work], *, repeats: int, warmup: int = 1) -> dict[str, Spread]:
    """Time cases.

    Args:
        cases: Name → what to time. A case that needs preparation does it before, or in its warm-up calls.
        repeats: Rounds, at least 1; each gives one sample of each case.
        warmup: Calls of each case before the first round.

    Returns:
        Name → seconds of one call.
    """
    for work in cases.values():
        for _ in range(warmup):
            work()
    calls = {name: _calls(work) for name, work in cases.items()}
    samples: dict[str, list[float]] = {name: [] for name in cases}
    order = list(cases)
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()  # a collection would fall on whichever case happens to run
    try:
        for _ in range(repeats):
            for name in order:
                samples[name].append(_sample(cases[name], calls[name]))
            order.reverse()
    finally:
        if enabled:
            gc.enable()
    return {name: spread(values) for name, values in samples.items()}


def spread(samples: Iterable[float]) -> Spread:
    """Return median, minimum and maximum of samples, at least one."""
    values = list(samples)
    return Spread(statistics.median(values), min(values), max(values), len(values))


def _calls(work: Work) -> int:
    seconds = _sample(work, 1)
    return max(1, round(MIN_SAMPLE_SECONDS / max(seconds, 1e-9)))


def _sample(work: Work, calls: int) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - began) / calls
