"""Test cases of exported files, and how far the outputs are from the expected ones.

Differences are summarized as maximum, mean, 99.9th percentile and PSNR.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mvstylizer.errors import MVStylizerError

Array = NDArray[Any]


class ParityError(MVStylizerError):
    """An exported file does not compute what its reference computes."""


class Tolerance:
    """Largest difference from the reference; a larger one fails the export, and later ``--check``.

    Attributes:
        GRAY: Gray levels of a stylized frame, both sides rounded.
        CODE: Of a style code, relative to its largest entry.
        MAP: Of a grid's entries; weights are stored in half precision.
        LUT: Gray levels of a look-up table's entries, not rounded.
        ROUNDED_GRAY: Gray levels of a uint8 result against the real-valued one: rounding, plus a little.
        FLOAT_GRAY: Gray levels of a result that is not rounded.
        HALF_GRAY: The same computed in float16.
        FEATURE: Of the key frame's score and features.
    """

    GRAY: Final = 1.0
    CODE: Final = 2e-3
    MAP: Final = 2e-2
    LUT: Final = 0.5
    ROUNDED_GRAY: Final = 0.51
    FLOAT_GRAY: Final = 0.05
    HALF_GRAY: Final = 1.5
    FEATURE: Final = 1e-5


class Case(NamedTuple):
    """One run of a model file and its expected outputs.

    Attributes:
        name: What the inputs exercise.
        inputs: Tensors by name; dynamic inputs of the file are resized to these shapes.
        expected: All outputs in order, flattened and concatenated, not rounded, float64.
    """

    name: str
    inputs: dict[str, Array]
    expected: Array


class Differences:
    """Collects absolute differences and rejects one above the tolerance.

    Args:
        subject: What is compared, for the error message.
        tolerance: Largest difference allowed.
        peak: Range of the values, for PSNR.
        unit: Unit of the difference, for the error message.
    """

    def __init__(self, subject: str, tolerance: float, peak: float, unit: str = "") -> None:
        self._subject, self._tolerance, self._peak, self._unit = subject, tolerance, peak, unit
        self._by_lane: dict[str, list[Array]] = {}
        self._largest: dict[str, float] = {}

    def add(
        self, case: str, lane: str, found: Array, expected: Array, *, tolerance: float | None = None
    ) -> None:
        """Compare two arrays of the same shape.

        Args:
            case: Name of the case.
            lane: Name of the runtime.
            found: Output of the file.
            expected: Output of the reference.
            tolerance: Replaces the tolerance of this object, for lanes of lower precision.

        Raises:
            ParityError: The shapes differ, or a value differs by more than the tolerance.
        """
        if found.shape != expected.shape:
            raise ParityError(
                f"{self._subject} returns shape {found.shape} instead of {expected.shape}"
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
        """Return the manifest's parity row: figures over everything, maximum by case, figures by lane."""
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
    """Return a parity row with four significant digits; further digits depend on the machine."""

    def short(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: short(v) for k, v in value.items()}
        return float(f"{value:.4g}") if isinstance(value, float) else value

    return {key: short(value) for key, value in parity.items()}
