"""Benchmark inputs: what a kernel's caller feeds it, with the outputs of this machine's LiteRT."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from device_runtime.kernels import KeyFrameScore, Transfer, Warp
from device_runtime.kernels.interpreter import KernelInterpreter
from device_runtime.kernels.key_frame import LUMA_SHAPE
from mvstylizer.bundle import Bundle

Array = NDArray[Any]
GRID: Final = (9, 16, 6)  # rows, columns and bins of a map


class KernelCase(NamedTuple):
    """One invocation of a kernel.

    Attributes:
        inputs: Tensors by name, in the interpreter's order, for one strip or tile.
        outputs: This machine's results by name, in the interpreter's order.
        calls_per_frame: Invocations per frame of this size.
    """

    inputs: dict[str, Array]
    outputs: dict[str, Array]
    calls_per_frame: int


def make_case(bundle: Bundle, kernel: str, width: int, height: int) -> KernelCase:
    """Run a kernel's caller over a frame on this machine and return its last invocation.

    Args:
        bundle: Provides the kernel.
        kernel: ``warp``, ``transfer`` or ``key_frame``.
        width: Width of the frame in pixels; ignored by `key_frame`, which has a fixed size.
        height: Height of the frame in pixels; likewise.

    Raises:
        BundleError: The bundle lacks the kernel, or its file differs from the manifest.
        KernelError: The runtime rejects the file.
    """
    if kernel == "warp":
        return _warp(bundle, width, height)
    if kernel == "transfer":
        return _transfer(bundle, width, height)
    return _key_frame(bundle)


def _warp(bundle: Bundle, width: int, height: int) -> KernelCase:
    rows, columns = np.indices((height, width))
    # Signed, fractional and across the borders, unlike a random input in 0..1.
    flow = np.stack([12 * np.sin(rows / 31 + columns / 57), 12 * np.cos(columns / 43)], axis=-1)
    flow[:, :8, 0], flow[:, -8:, 0], flow[-4:, ::2, 1] = -20.25, 20.75, 9.5
    with Warp(bundle.file("warp"), threads=1) as warp:
        warp.set_key(_picture(height, width))
        warp(flow.astype(np.float32))
        strips = -(-height // warp.last.tensor("up").shape[1])
        return _case(bundle, "warp", warp.last, strips)


def _transfer(bundle: Bundle, width: int, height: int) -> KernelCase:
    noise = np.random.default_rng(1).normal(0, 0.1, (*GRID, 3, 4))
    grid = (np.eye(3, 4) + noise).astype(np.float32)
    with Transfer(bundle.file("transfer"), threads=1) as transfer:
        transfer(_picture(height, width), grid)
        return _case(bundle, "transfer", transfer.last, transfer.tiles)


def _key_frame(bundle: Bundle) -> KernelCase:
    score = KeyFrameScore(bundle.file("key_frame"))
    luma = np.ascontiguousarray(_picture(*LUMA_SHAPE)[..., 0])
    score(np.roll(luma, 2, axis=1), luma, threshold=0.3, gap=3, max_gap=30)
    return _case(bundle, "key_frame", score.last, 1)


def _picture(height: int, width: int) -> NDArray[np.uint8]:
    """Return a deterministic test picture with gradients, edges and grain."""
    rows, columns = np.indices((height, width))
    bars = 60 * ((rows // 24 + columns // 40) % 2)
    grain = np.random.default_rng(0).integers(0, 40, (height, width, 3))
    slopes = np.stack([rows * 120 // height, columns * 120 // width, (rows + columns) % 120], axis=-1)
    picture: NDArray[np.uint8] = (slopes + bars[..., None] + grain).astype(np.uint8)
    return picture


def _case(bundle: Bundle, kernel: str, done: KernelInterpreter, calls: int) -> KernelCase:
    spec = bundle.spec(kernel)
    inputs = {tensor.name: done.get(tensor.name) for tensor in spec.inputs}
    outputs = {tensor.name: done.get(tensor.name) for tensor in spec.outputs}
    return KernelCase(inputs, outputs, calls)
