"""The reference implementations do the same work as the kernels."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest

from benchmarks import kernels
from benchmarks.data import footage
from benchmarks.data.models import shipped
from benchmarks.harness.result import Spread
from benchmarks.harness.timing import Timings, measure
from device_runtime.kernels import Warp

SIZE = (96, 64)


def test_opencv_and_torch_match_the_warp_kernel() -> None:
    photo, flow = footage.photo(*SIZE), kernels.smooth_flow(*SIZE)
    out = np.empty_like(photo)
    kernels._opencv(photo, flow, out)()
    sampled = kernels._torch(photo, flow)()
    with Warp(shipped()[0].file("warp"), threads=1) as warp:
        warp.set_key(photo)
        ours = warp(flow)
    assert np.abs(flow).max() > 7
    # OpenCV rounds coordinates to 1/32 pixel.
    assert np.abs(out.astype(int) - ours).max() <= 6
    assert np.abs(sampled.numpy()[0].transpose(1, 2, 0) - ours).max() <= 0.6


@pytest.mark.parametrize("threads", [1, 2])
def test_every_case_runs(threads: int) -> None:
    photo, flow = footage.photo(*SIZE), kernels.smooth_flow(*SIZE)
    grid = np.zeros((4, 6, 2, 3, 4), np.float32)
    with ExitStack() as stack:
        cases = kernels.cases(stack, shipped()[0], photo, photo, grid, flow, threads)
        times = measure(cases, repeats=1)
    assert {"copy", "opencv", "torch", "warp", "transfer", "transfer, 4:2:0", "key_frame"} <= set(times)
    assert all(each.min > 0 for each in times.values())


def test_ratios_are_computed_per_round() -> None:
    times = Timings(
        {
            "copy": [1.0, 2.0, 0.5],
            "opencv": [2.0, 2.0, 2.0],
            "torch": [4.0, 8.0, 2.0],
            "warp": [3.0, 6.0, 1.5],
        }
    )
    row = kernels._row("96x64", 1, "warp", times)
    assert row.figures["of_copy"] == Spread(3.0, 3.0, 3.0, 3)
    assert row.figures["of_opencv"] == Spread(1.5, 0.75, 3.0, 3)
    assert row.figures["of_torch"] == Spread(0.75, 0.75, 0.75, 3)
    assert "of_warp" not in row.figures
