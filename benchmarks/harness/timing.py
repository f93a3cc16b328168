"""Time cases beside each other: warmed up, interleaved, as medians with minimum and maximum.

Cases are run in rounds, each once a round, every other round backwards: what slows the machine for a while
then slows all of them, and ratios, taken within each round, hold where absolute times do not.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from benchmarks.harness.result import Spread

MIN_SAMPLE_SECONDS: Final = (
    2e-3  # shorter calls are repeated within a sample: the clock's own cost shows below
)
Work = Callable[[], object]


class Timings(Mapping[str, Spread]):
    """The seconds of one call of each case, by name.

    Args:
        samples: Name → one sample a round, the same number for each.
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
        """Return one case's seconds, round by round."""
        return self._samples[name]

    def ratio(self, name: str, other: str) -> Spread:
        """Return one case's seconds over another's, each round's by itself."""
        pairs = zip(self._samples[name], self._samples[other], strict=True)
        return spread(seconds / beside for seconds, beside in pairs)


def measure(cases: Mapping[str, Work], *, repeats: int, warmup: int = 1) -> Timings:
    """Time cases.

    Args:
        cases: Name → what to time. A case that needs preparation does it before, or in its warm-up calls.
        repeats: Rounds, at least 1; each gives one sample of each case.
        warmup: Calls of each case before the first round.

    Returns:
        Name → seconds of one call, and their ratios.
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
    return Timings(samples)


def measure_in_blocks(
    slow: Work, cases: Mapping[str, Work], *, blocks: int, repeats: int, name: str
) -> tuple[Timings, Timings]:
    """Time cases in blocks, each behind one call of a slow case: near it, but not in its wake.

    A network's threads spin for a while after it, and it leaves cold caches, so that in one round with it
    each of these cases would be slower than by itself; timed long after it, their ratio to it would hold only
    as long as the machine keeps its speed.

    Args:
        slow: The slow case.
        cases: Name → what to time.
        blocks: Calls of the slow case.
        repeats: Rounds of the others in a block.
        name: Of the slow case.

    Returns:
        The times of `cases`, a sample a round; and those of all, `name` too, a sample a block, where those of
        `cases` are a block's medians.
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
