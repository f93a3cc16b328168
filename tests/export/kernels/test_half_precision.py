from __future__ import annotations

import numpy as np

from export.kernels.convert import convert, operators, tensorflow
from export.kernels.half_precision import LARGE, with_half_constants
from export.runtimes.cpu import CPU_LANES, run_on_cpu
from mvstylizer.bundle import TensorSpec

SIDE = 32
SPECS = (TensorSpec("x", "float32", (1, SIDE)),), (TensorSpec("y", "float32", (1, SIDE)),)
X = np.random.default_rng(1).random((1, SIDE), np.float32)


def product(matrix: np.ndarray) -> bytes:
    return convert(lambda x: tensorflow().matmul(x, matrix) + matrix[:1], *SPECS)


def test_weights_of_half_precision_are_stored_so_and_change_nothing() -> None:
    matrix = np.random.default_rng(2).random((SIDE, SIDE)).astype(np.float16).astype(np.float32)
    content = product(matrix)
    stored = with_half_constants(content)
    assert matrix.size >= LARGE
    assert len(content) - len(stored) > 1.8 * matrix.size
    assert operators(stored)["DEQUANTIZE"] >= 1
    for lane in CPU_LANES:
        (found,), (expected,) = (run_on_cpu(each, {"x": X}, lane) for each in (stored, content))
        np.testing.assert_array_equal(found, expected, err_msg=lane)


def test_constants_that_would_change_stay_in_single_precision() -> None:
    content = product(np.random.default_rng(3).random((SIDE, SIDE), np.float32))
    assert "DEQUANTIZE" not in operators(with_half_constants(content))
    assert abs(len(with_half_constants(content)) - len(content)) < 200
