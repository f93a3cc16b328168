"""Time cases in interleaved rounds after a warm-up; report median, minimum and maximum.

Each round runs every case once; every other round runs in reverse order. A temporary slowdown of the machine
then affects all cases, and ratios, which are taken within a round, stay valid where absolute times do not.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from benchmarks.harness.result import Spread

MIN_SAMPLE_S: Final = 2e-3  # shorter calls are repeated within a sample, to hide the cost of the clock
Work = Callable[[], object]


class Timings(Mapping[str, Spread]):
    """Seconds per call of each case, by name.

    Args:
        samples: One sample per round, by name; the same number for each case.
    """

    def __init__(self, samples: Mapping[str, Sequence[float]]) -> None:
        self._samples = samples

    def __getitem__(self, name: str) -> Spread:
        return spread(self._samples[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._samples)

    def __len__(self) -> int:
        return len(self._samples)

    def samples(self, name: str) -> Sequence[float]:
        """Return the samples of a case, in seconds, one per round."""
        return self._samples[name]

    def ratio(self, name: str, other: str) -> Spread:
        """Return the ratio of two cases, computed within each round."""
        pairs = zip(self._samples[name], self._samples[other], strict=True)
        return spread(seconds / reference for seconds, reference in pairs)


def measure(cases: Mapping[str, Work], *, repeats: int, warmup: int = 1) -> Timings:
    """Time cases.

    Args:
        cases: Functions to time, by name; preparation belongs before or into the warm-up calls.
        repeats: Number of rounds, at least 1.
        warmup: Calls of each case before the first round.

    Returns:
        Seconds per call of each case.
    """
    for work in cases.values():
        for _ in range(warmup):
            work()
    calls = {name: _calls(work) for name, work in cases.items()}
    samples: dict[str, list[float]] = {name: [] for name in cases}
    order = list(cases)
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()  # a collection would slow down an arbitrary case
    try:
        for _ in range(repeats):
            for name in order:
                samples[name].append(_sample(cases[name], calls[name]))
            order.reverse()
    finally:
        if enabled:
            gc.enable()
    return Timings(samples)


def measure_in_blocks(
    slow: Work, cases: Mapping[str, Work], *, blocks: int, repeats: int, name: str
) -> tuple[Timings, Timings]:
    """Time fast cases in blocks, each after one call of a slow case.

    After a network has run, its threads spin for a while and caches are cold, so fast cases in the same round
    would be slower than on their own. If they were timed much later, their ratio to the slow case would be
    wrong whenever the machine's speed changes. Hence a few rounds follow each call of the slow case.

    Args:
        slow: The slow case.
        cases: Fast cases, by name.
        blocks: Number of calls of the slow case.
        repeats: Rounds of the fast cases per block.
        name: Name of the slow case.

    Returns:
        Timings of `cases` with a sample per round; and timings of all cases including `name` with a sample
        per block, which for `cases` is the block's median.
    """
    slow()
    rounds: dict[str, list[float]] = {case: [] for case in cases}
    whole: dict[str, list[float]] = {name: [], **{case: [] for case in cases}}
    for _ in range(blocks):
        whole[name].append(_sample(slow, 1))
        times = measure(cases, repeats=repeats, warmup=2)
        for case in cases:
            rounds[case] += times.samples(case)
            whole[case].append(times[case].median)
    return Timings(rounds), Timings(whole)


def spread(samples: Iterable[float]) -> Spread:
    """Return median, minimum and maximum of at least one sample."""
    values = list(samples)
    return Spread(statistics.median(values), min(values), max(values), len(values))


def _calls(work: Work) -> int:
    seconds = _sample(work, 1)
    return max(1, round(MIN_SAMPLE_S / max(seconds, 1e-9)))


def _sample(work: Work, calls: int) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - began) / calls
