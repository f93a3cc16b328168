"""Benchmark inputs: what a kernel's caller feeds it, with the outputs of this machine's LiteRT."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from device_runtime.bench.accelerator_inputs import (
    resampled,
    transfer_accel_inputs,
    warp_accel_inputs,
    warp_gpu_inputs,
)
from device_runtime.kernels import KeyFrameScore, Transfer, Warp
from device_runtime.kernels.interpreter import KernelInterpreter
from device_runtime.kernels.key_frame import LUMA_SHAPE
from device_runtime.stylizers.resize import thumbnail
from mvstylizer.bundle import Bundle

Array = NDArray[Any]
GRID: Final = (9, 16, 6)  # rows, columns and bins of a map


class KernelCase(NamedTuple):
    """One invocation of a graph.

    Attributes:
        role: The graph's role in the bundle.
        inputs: Tensors by name, in the interpreter's order, for one strip, tile, frame or thumbnail.
        outputs: This machine's results by name, in the interpreter's order.
        calls_per_frame: Invocations per frame of this size; for the network, per key frame or style.
        is_resized: Whether the graph takes inputs of any size, and is resized to these.
    """

    role: str
    inputs: dict[str, Array]
    outputs: dict[str, Array]
    calls_per_frame: int
    is_resized: bool = False

    @property
    def needs_float32(self) -> bool:
        """Whether half precision would round its coordinates to whole pixels."""
        return self.role.startswith("warp_gpu")


def role_of(kernel: str, width: int, height: int) -> str:
    """Return the role in a bundle of one of `plan.GRAPHS` for frames of width × height."""
    if kernel in ("warp_accel", "warp_gpu", "transfer_accel"):
        return f"{kernel}_{width}x{height}"
    return f"{kernel}_tflite" if kernel in ("style_encoder", "look") else kernel


def make_case(bundle: Bundle, kernel: str, width: int, height: int) -> KernelCase:
    """Run a kernel's caller over a frame on this machine and return its last invocation.

    Args:
        bundle: Provides the graph.
        kernel: One of `plan.GRAPHS`.
        width: Width of the frame in pixels; ignored by `key_frame` and the network, which have fixed sizes.
        height: Height of the frame in pixels; likewise.

    Raises:
        BundleError: The bundle lacks the graph at this size, or its file differs from the manifest.
        KernelError: The runtime rejects the file.
    """
    if kernel == "warp":
        return _warp(bundle, width, height)
    if kernel == "transfer":
        return _transfer(bundle, width, height)
    if kernel == "key_frame":
        return _key_frame(bundle)
    role = role_of(kernel, width, height)
    if kernel == "warp_accel":
        return _run(bundle, role, warp_accel_inputs(_picture(height, width), _flow(height, width)))
    if kernel == "warp_gpu":
        inputs = warp_gpu_inputs(_picture(height, width), _flow(height, width))
        return KernelCase(role, inputs, {"warped": resampled(**inputs)}, 1)
    if kernel == "transfer_accel":
        *_, rows, columns, channels = bundle.spec(role).inputs[1].shape
        grid = _grid(rows, columns, channels // 12)
        return _run(bundle, role, transfer_accel_inputs(_picture(height, width), grid))
    return _network(bundle, role)


def _warp(bundle: Bundle, width: int, height: int) -> KernelCase:
    with Warp(bundle.file("warp"), threads=1) as warp:
        warp.set_key(_picture(height, width))
        warp(_flow(height, width))
        strips = -(-height // warp.last.tensor("up").shape[1])
        return _case(bundle, "warp", warp.last, strips)


def _transfer(bundle: Bundle, width: int, height: int) -> KernelCase:
    with Transfer(bundle.file("transfer"), threads=1) as transfer:
        transfer(_picture(height, width), _grid(*GRID))
        return _case(bundle, "transfer", transfer.last, transfer.tiles)


def _key_frame(bundle: Bundle) -> KernelCase:
    score = KeyFrameScore(bundle.file("key_frame"))
    luma = np.ascontiguousarray(_picture(*LUMA_SHAPE)[..., 0])
    score(np.roll(luma, 2, axis=1), luma, threshold=0.3, gap=3, max_gap=30)
    return _case(bundle, "key_frame", score.last, 1)


def _network(bundle: Bundle, role: str) -> KernelCase:
    """Return a case of the style encoder or of the look network, whose style code the encoder provides."""
    encoder = role_of("style_encoder", 0, 0)
    style = _run(bundle, encoder, {"thumb": thumbnail(_picture(144, 256)[::-1])[None]})
    if role == encoder:
        return style
    thumb = thumbnail(_picture(288, 512))[None]
    return _run(bundle, role, {"thumb": thumb, "style_code": style.outputs["style_code"]})


def _run(bundle: Bundle, role: str, inputs: dict[str, Array]) -> KernelCase:
    """Run a graph of a static size once."""
    kernel = KernelInterpreter(bundle.file(role))
    kernel.resize({})
    for name, value in inputs.items():
        kernel.put(name, value)
    kernel.invoke()
    return _case(bundle, role, kernel, 1)


def _flow(height: int, width: int) -> NDArray[np.float32]:
    """Return a flow that is signed, fractional and across the borders, unlike a random input in 0..1."""
    rows, columns = np.indices((height, width))
    flow = np.stack([12 * np.sin(rows / 31 + columns / 57), 12 * np.cos(columns / 43)], axis=-1)
    flow[:, :8, 0], flow[:, -8:, 0], flow[-4:, ::2, 1] = -20.25, 20.75, 9.5
    return flow.astype(np.float32)


def _grid(rows: int, columns: int, bins: int) -> NDArray[np.float32]:
    noise = np.random.default_rng(1).normal(0, 0.1, (rows, columns, bins, 3, 4))
    return (np.eye(3, 4) + noise).astype(np.float32)


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
    is_resized = any(-1 in tensor.shape for tensor in spec.inputs)
    return KernelCase(kernel, inputs, outputs, calls, is_resized)
