"""Latency of a bundle's files on this machine, recorded at export and compared by ``--check``.

A hint, not a benchmark: a few runs on a machine that may be busy. `mvstylizer bench` measures properly.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from ai_edge_litert.interpreter import Interpreter

from export.parity.kernels import KERNELS, Kernel
from export.parity.transfer_reference import tile_case, transfer_problems_at
from export.parity.warp_reference import noise_problem, strip_case
from export.runtimes.difference import Array
from mvstylizer.bundle import FileSpec

RUNS = 3
THREADS = 1
WIDTH, HEIGHT = 512, 256  # of the frame, the smallest of the paper's sizes


def onnx_latency(path: Path, spec: FileSpec) -> dict[str, Any]:
    """Time an ONNX file of a stylizer on a frame of 512×256, with one thread.

    Returns:
        ``median_ms``, ``size``, ``threads`` and ``runs``.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = _frame_inputs(spec, WIDTH, HEIGHT)
    return _row(f"{WIDTH}x{HEIGHT}", lambda: session.run(None, inputs))


def kernel_latency(content: bytes, kernel: Kernel) -> dict[str, Any]:
    """Time a sized kernel on a frame of its size, any other on a strip, tile or thumbnail.

    Returns:
        As `onnx_latency`; empty if no CPU can run the kernel.
    """
    if not kernel.cpu:
        return {}
    size, inputs = _kernel_inputs(kernel)
    return _tflite(content, size, inputs)


def lite_latency(content: bytes, spec: FileSpec) -> dict[str, Any]:
    """Time a TFLite file of the lite stylizer on a thumbnail; see `onnx_latency`."""
    _, height, width, _ = spec.inputs[0].shape
    return _tflite(content, f"{width}x{height}", _frame_inputs(spec, width, height))


def _frame_inputs(spec: FileSpec, width: int, height: int) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    inputs: dict[str, Array] = {}
    for tensor in spec.inputs:
        if tensor.dtype == "uint8":
            inputs[tensor.name] = rng.integers(0, 256, (1, height, width, 3), np.uint8)
        else:
            inputs[tensor.name] = np.ones(tensor.shape, np.float32)
    return inputs


def _tflite(content: bytes, size: str, inputs: Mapping[str, Array]) -> dict[str, Any]:
    interpreter = Interpreter(model_content=content, num_threads=THREADS)
    details = {d["name"]: d["index"] for d in interpreter.get_input_details()}
    for name, value in inputs.items():
        interpreter.resize_tensor_input(details[name], value.shape)
    interpreter.allocate_tensors()
    for name, value in inputs.items():
        interpreter.set_tensor(details[name], value)
    return _row(size, interpreter.invoke)


def _kernel_inputs(kernel: Kernel) -> tuple[str, Mapping[str, Array]]:
    if kernel is KERNELS["warp"]:
        return "512x32", strip_case(noise_problem(512, 32)).inputs
    if kernel is KERNELS["transfer"]:
        return "128x64", tile_case(next(transfer_problems_at(128, 64, 2, 2, 8))).inputs
    size = "160x90" if kernel.size is None else "{}x{}".format(*kernel.size)
    return size, next(kernel.cases()).inputs


def _row(size: str, run: Callable[[], Any]) -> dict[str, Any]:
    run()  # the first run allocates memory
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return {
        "median_ms": float(f"{1e3 * statistics.median(times):.4g}"),
        "size": size,
        "threads": THREADS,
        "runs": RUNS,
    }
