"""The order of whole runs: rounds of cases between runs that stylize every frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Final, TypeAlias

from benchmarks.data import paper
from device_runtime.options import Interpolation

NOISE: Final = 0.20  # relative difference of ratios within which two runs agree
# Each round is preceded and followed by a run that stylizes every frame, so ratios are between neighbors.
# The longest interval is in every round, the others are in two; warp is slow and only run at the longest.
Run: TypeAlias = tuple[Interpolation, int]
LONGEST: Final[Run] = ("transfer", paper.INTERVALS[-1])
MAX_WARP: Final[Run] = ("warp", paper.INTERVALS[-1])
ROUNDS: Final[tuple[tuple[Run, ...], ...]] = (
    (("transfer", 5), ("transfer", 15), LONGEST, ("transfer", 25), MAX_WARP),
    (LONGEST, ("transfer", 10), ("transfer", 20), ("transfer", 5), ("transfer", 15)),
    (MAX_WARP, ("transfer", 25), LONGEST, ("transfer", 20), ("transfer", 10)),
)


def in_rounds(
    every_frame: Callable[[], float],
    at_interval: Callable[[Interpolation, int], float],
    rounds: Sequence[Sequence[Run]],
) -> dict[Run, list[tuple[float, float]]]:
    """Time whole runs in rounds, between runs that stylize every frame.

    If the two ratios of a case differ by more than the noise, one of them was disturbed; such cases are run a
    third time in an extra round.

    Returns:
        By case, one pair per round: seconds per frame of stylizing every frame (mean of the runs before and
        after the round), and seconds per frame of the case.
    """
    found: dict[Run, list[tuple[float, float]]] = {}
    before = every_frame()
    for round_ in chain(rounds, _again(found)):  # evaluated after the last round
        seconds = [at_interval(*run) for run in round_]
        after = every_frame()
        for run, own in zip(round_, seconds, strict=True):
            found.setdefault(run, []).append(((before + after) / 2, own))
        before = after
    return found


def _again(found: Mapping[Run, Sequence[tuple[float, float]]]) -> Iterator[list[Run]]:
    """Yield a round of the cases whose two ratios disagree, if there are any."""
    doubtful = []
    for run, pairs in found.items():
        ratios = [every / own for every, own in pairs]
        if len(ratios) == 2 and max(ratios) - min(ratios) > NOISE * max(ratios):
            doubtful.append(run)
    if doubtful:
        yield doubtful
