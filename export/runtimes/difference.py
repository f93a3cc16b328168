"""How far found values are from expected ones: maximum, mean, 99.9th percentile and PSNR."""

from __future__ import annotations

from typing import Any

import numpy as np

from export.runtimes.case import Array
from mvstylizer.errors import MVStylizerError


class ParityError(MVStylizerError):
    """A written file does not compute what its reference computes."""


class Differences:
    """Collects absolute differences and refuses one that is too large.

    Args:
        subject: What is compared, for the message.
        tolerance: Largest difference allowed.
        peak: Range of the values, for PSNR.
        unit: Of the difference, for the message.
    """

    def __init__(self, subject: str, tolerance: float, peak: float, unit: str = "") -> None:
        self._subject, self._tolerance, self._peak, self._unit = subject, tolerance, peak, unit
        self._by_lane: dict[str, list[Array]] = {}
        self._largest: dict[str, float] = {}

    def add(
        self, case: str, lane: str, found: Array, expected: Array, *, tolerance: float | None = None
    ) -> None:
        """Compare two arrays of one shape, with a tolerance of the lane's own where it has one.

        Raises:
            ParityError: Shapes differ, or a value by more than the tolerance; names case and lane.
        """
        if found.shape != expected.shape:
            raise ParityError(
                f"{self._subject} gives shape {found.shape}, its reference {expected.shape},"
                f" in case {case} on {lane}"
            )
        difference = np.abs(found.astype(np.float64) - expected).ravel()
        worst = float(difference.max())
        allowed = self._tolerance if tolerance is None else tolerance
        if not worst <= allowed:
            raise ParityError(
                f"{self._subject} differs from its reference by {worst:.4g}{self._unit}"
                f" (allowed {allowed:g}) in case {case} on {lane}"
            )
        self._by_lane.setdefault(lane, []).append(difference.astype(np.float32))
        self._largest[case] = max(worst, self._largest.get(case, 0.0))

    def summary(self) -> dict[str, Any]:
        """Return the manifest's parity row: the figures over everything, by case the maximum, and by lane."""
        lanes = {lane: np.concatenate(parts) for lane, parts in self._by_lane.items()}
        rows = {lane: self._figures(values) for lane, values in lanes.items()}
        whole = self._figures(np.concatenate(list(lanes.values())))
        return {**whole, "cases": self._largest, "lanes": rows}

    def _figures(self, values: Array) -> dict[str, float]:
        square = float(np.mean(np.square(values, dtype=np.float64)))
        return {
            "max": float(values.max()),
            "mean": float(values.mean(dtype=np.float64)),
            "p999": float(np.percentile(values, 99.9)),
            "psnr": 10 * float(np.log10(self._peak**2 / max(square, 1e-20))),
        }


def rounded(parity: dict[str, Any]) -> dict[str, Any]:
    """Keep four significant digits of a parity row: the rest is this machine's rounding, not information."""

    def short(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: short(v) for k, v in value.items()}
        return float(f"{value:.4g}") if isinstance(value, float) else value

    return {key: short(value) for key, value in parity.items()}
