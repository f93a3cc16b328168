"""Smooth a loss curve and find where it reaches a loss."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean
from typing import Final

from benchmarks.federated.fleet import Point

NEIGHBORS: Final = 2  # rounds on each side of the smoothing window


def smoothed(curve: Sequence[Point]) -> list[float]:
    """Return the total loss, smoothed by a centered moving average.

    The window shrinks at the beginning. Points at the end without a full window are omitted, so that a single
    lucky round does not count.
    """
    means = []
    for place in range(smoothed_count(len(curve))):
        reach = min(NEIGHBORS, place)
        means.append(fmean(point.total for point in curve[place - reach : place + reach + 1]))
    return means


def images_until(curve: Sequence[Point], loss: float) -> float | None:
    """Return the number of images at which the smoothed curve first reaches a loss, or None.

    Values between points are interpolated linearly.
    """
    losses = smoothed(curve)
    for place, (before, after) in enumerate(pairwise(losses)):
        if after <= loss < before:
            share = (before - loss) / (before - after)
            start, end = curve[place].images, curve[place + 1].images
            return start + share * (end - start)
    return None


def smoothed_count(points: int) -> int:
    """Return how many points of a curve `smoothed` returns."""
    return max(1, points - NEIGHBORS)
