from __future__ import annotations

import gc
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.kernels import KernelError
from device_runtime.kernels.interpreter import KernelInterpreter, KernelPool, balanced
from device_runtime.kernels.warp import STRIP_PIXELS, row_bounds, strip_rows


def test_the_phone_needs_no_training_framework() -> None:
    program = "import sys, device_runtime.kernels; print(*{'tensorflow', 'torch', 'onnx'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_every_job_is_done_once_and_by_more_than_one_thread(kernels: Path) -> None:
    done: list[int] = []
    threads = set()
    both = threading.Barrier(2, timeout=30)

    def do(_: KernelInterpreter, job: int) -> None:
        if job < 2:
            both.wait()  # passes only when two threads are at work
        threads.add(threading.get_ident())
        done.append(job)

    with KernelPool(kernels / "transfer.tflite", 2) as pool:
        pool.run(range(50), do)
    assert sorted(done) == list(range(50))
    assert len(threads) == 2


@pytest.mark.parametrize("count", [1, 3])
def test_a_failing_job_is_reported_and_the_pool_goes_on(kernels: Path, count: int) -> None:
    def fail_at_seven(_: KernelInterpreter, job: int) -> None:
        if job == 7:
            raise KernelError("job 7")

    with KernelPool(kernels / "transfer.tflite", count) as pool:
        with pytest.raises(KernelError, match="job 7"):
            pool.run(range(20), fail_at_seven)
        pool.run(range(7), fail_at_seven)


def test_runtime_errors_become_kernel_errors(kernels: Path, tmp_path: Path) -> None:
    warp = KernelInterpreter(kernels / "warp.tflite")
    with pytest.raises(KernelError, match="rejects shapes"):
        warp.resize({"flow_x": (1, 2, 3, 1), "left": (1, 1, 5, 1)})
    picking = tmp_path / "picking.tflite"
    picking.write_bytes(unclamped_gather())
    gather = KernelInterpreter(picking)
    gather.resize({})
    for outside in (-1, 1):  # of a table of one value
        gather.put("index", np.array([outside], np.int32))
        with pytest.raises(KernelError, match="failed"):
            gather.invoke()


def unclamped_gather() -> bytes:
    """A TFLite file that fails at run time for every index but 0."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([1], tf.int32, name="index")])
    def pick(index: tf.Tensor) -> tf.Tensor:
        return tf.gather(tf.constant([1.0]), index)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([pick.get_concrete_function()])
    return bytes(converter.convert())


@given(st.integers(1, 5000), st.integers(0, 6000))
def test_balanced_parts_cover_with_less_than_one_row_each_to_spare(length: int, most: int) -> None:
    part = balanced(length, most)
    parts = -(-length // part)
    assert 1 <= part <= max(1, most)
    assert parts == -(-length // max(1, min(most, length)))
    assert parts * part - length < parts


def test_a_tensor_is_the_runtimes_own_memory_and_outlives_the_interpreter(kernels: Path) -> None:
    transfer = KernelInterpreter(kernels / "transfer.tflite")
    transfer.resize(
        {
            "frame": (1, 3, 2, 5),
            "cells": (12, 1, 1, 1),
            "rows": (1, 1, 2, 1),
            "columns": (1, 1, 1, 5),
            "guide": (5, 1, 1, 1),
            "bins": (1, 1, 1, 1),
        }
    )
    frame, styled = transfer.tensor("frame"), transfer.tensor("styled")
    transfer.tensor("cells")[...] = np.eye(4, 3).reshape(12, 1, 1, 1)
    transfer.tensor("rows")[...] = transfer.tensor("columns")[...] = 1
    transfer.tensor("guide")[...] = transfer.tensor("bins")[...] = 0
    for gray in (7, 200):  # written in place and read in place, over several invocations
        frame[...] = gray
        transfer.invoke()
        assert (styled == gray).all()
    np.testing.assert_array_equal(transfer.get("styled"), styled)
    assert transfer.tensor("styled") is styled
    transfer.resize({"frame": (1, 3, 2, 6), "columns": (1, 1, 1, 6)})
    assert transfer.tensor("frame").shape == (1, 3, 2, 6)
    last = transfer.tensor("frame")
    last[...] = 9
    del transfer, frame, styled
    gc.collect()
    assert (last == 9).all()
    with pytest.raises(KernelError, match="no tensor nothing"):
        KernelInterpreter(kernels / "warp.tflite").tensor("nothing")


@pytest.mark.parametrize(("height", "width", "most"), [(1080, 1920, 1079), (4320, 7680, 2183), (1, 2**20, 0)])
def test_a_step_in_pixels_is_exact_as_a_float32(height: int, width: int, most: int) -> None:
    up, down = row_bounds(height, width)
    rows = np.arange(height)
    assert up.dtype == down.dtype == np.float32
    assert up.min() == -most
    assert down.max() == most
    np.testing.assert_array_equal(up.ravel(), np.maximum(-rows, -most))
    np.testing.assert_array_equal(down.ravel(), up.ravel()[::-1] * -1)
    farthest = [float(rows.max()) * width + (width - 1) for rows in (down, -up)]
    assert all(np.float32(step) == step and step < 2**24 for step in farthest)


@given(st.integers(1, 5000), st.integers(1, 50_000))
def test_a_strip_fits_and_does_few_rows_twice(height: int, width: int) -> None:
    rows = strip_rows(height, width)
    most = max(1, min(height, STRIP_PIXELS // width))
    assert 0.75 * most <= rows <= most
    done = {each: -(-height // each) * each for each in (rows, most)}
    assert done[rows] <= 1.1 * done[most]


@pytest.mark.parametrize(
    ("height", "width"), [(256, 512), (384, 768), (512, 1024), (1080, 1920), (720, 1280), (2160, 3840)]
)
def test_planes_of_a_strip_do_not_crowd_the_same_sets_of_the_cache(height: int, width: int) -> None:
    bytes_of_a_plane = strip_rows(height, width) * width * 4
    assert bytes_of_a_plane % 16_384
