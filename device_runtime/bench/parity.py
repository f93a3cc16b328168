"""Compare the phone's output with this machine's, for the same input bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from device_runtime.bench.kernel_case import Array

# Tolerances in gray levels, and of floats as a share of the largest. GPU and NPU compute in float16.
_GRAY = {"cpu": 1.0, "xnnpack": 1.0, "gpu": 2.0, "npu": 2.0}
_REAL = {"cpu": 1e-4, "xnnpack": 1e-4, "gpu": 1e-2, "npu": 1e-2}


class Parity(NamedTuple):
    """Difference between the phone's output and this machine's.

    Attributes:
        passed: Whether all values are within tolerance and decisions (int32) are equal.
        largest: Largest absolute difference over all outputs; None if the size is wrong or a value is NaN.
        differing: Fraction of values that differ at all.
        tolerance: Tolerance by output.
    """

    passed: bool
    largest: float | None
    differing: float
    tolerance: dict[str, float]


def compare(expected: Mapping[str, Array], content: bytes, delegate: str) -> Parity:
    """Compare an output file, which contains all tensors in sequence, with this machine's tensors.

    Args:
        expected: By name, in the interpreter's order.
        content: The file that ``benchmark_model`` wrote.
        delegate: Selects the tolerance.
    """
    tolerance = {name: _tolerance(array, delegate) for name, array in expected.items()}
    if len(content) != sum(array.nbytes for array in expected.values()):
        return Parity(False, None, 1.0, tolerance)
    largest, differing, total, passed, start = 0.0, 0, 0, True, 0
    for name, array in expected.items():
        with np.errstate(invalid="ignore"):  # a phone may send any bit pattern; NaN counts as different
            found = np.frombuffer(content, array.dtype, array.size, start).astype(np.float64)
            difference = np.abs(found - array.ravel().astype(np.float64))
        start += array.nbytes
        passed &= bool((difference <= tolerance[name]).all())  # False for NaN
        largest = max(largest, float(difference.max())) if np.isfinite(difference).all() else np.nan
        differing, total = differing + int((difference != 0).sum()), total + array.size
    return Parity(passed, None if np.isnan(largest) else largest, differing / total, tolerance)


def _tolerance(array: Array, delegate: str) -> float:
    if array.dtype == np.uint8:
        return _GRAY[delegate]
    if array.dtype != np.float32:
        return 0.0
    return _REAL[delegate] * max(1.0, float(np.abs(array).max()))
