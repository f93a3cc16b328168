"""Benchmark configurations: graph × resolution × delegate × threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

WidthHeight = tuple[int, int]
RESOLUTIONS: tuple[WidthHeight, ...] = ((512, 256), (768, 384), (1024, 512), (1920, 1080))
THUMBNAIL = (160, 90)
NETWORK_THUMBNAIL = (96, 96)
_THREADLESS = ("gpu", "npu")  # not affected by the interpreter's CPU threads
# Each kernel in the form that a delegate wants: for a CPU, the one for any size, with bytes and gathers;
# for accelerators, whole frames of one size in floats.
_LANES: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "warp": {"gpu": ("warp_accel", "warp_gpu"), "npu": ("warp_accel",)},
    "transfer": {"gpu": ("transfer_accel",), "npu": ("transfer_accel",)},
}
_SIZES: Final = {
    "key_frame": (THUMBNAIL,),
    "style_encoder": (NETWORK_THUMBNAIL,),
    "look": (NETWORK_THUMBNAIL,),
}
KERNELS = ("warp", "transfer", "key_frame", "style_encoder", "look")
GRAPHS = (
    "warp",
    "warp_accel",
    "warp_gpu",
    "transfer",
    "transfer_accel",
    "key_frame",
    "style_encoder",
    "look",
)
NOT_A_GRAPH = "Flow is OpenCV's on the CPU, not a TFLite graph: measure it with --pipeline."


class Config(NamedTuple):
    """One configuration, which is one row of the results.

    Attributes:
        kernel: One of `GRAPHS`.
        width: Width of the frame in pixels.
        height: Height of the frame in pixels.
        delegate: One of `benchmark_model.DELEGATES`.
        threads: Threads of the interpreter.
    """

    kernel: str
    width: int
    height: int
    delegate: str
    threads: int

    def __str__(self) -> str:
        """For example ``warp 512x256 xnnpack, 2 threads``."""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.kernel} {self.width}x{self.height} {self.delegate}, {threads}"


def plan(
    kernels: Sequence[str],
    resolutions: Sequence[WidthHeight],
    delegates: Sequence[str],
    threads: Sequence[int],
) -> Iterator[Config]:
    """Yield every combination once, in order.

    Args:
        kernels: Of `KERNELS`; of each, a delegate gets the graphs that are made for it.
        resolutions: Width and height of the frames. Graphs for thumbnails have one size.
        delegates: Of `benchmark_model.DELEGATES`.
        threads: Thread counts on the CPU.
    """
    for kernel in kernels:
        graphs = dict.fromkeys(graph for delegate in delegates for graph in graphs_for(kernel, delegate))
        for graph in graphs:
            for width, height in _SIZES.get(kernel, resolutions):
                for delegate in delegates:
                    if graph in graphs_for(kernel, delegate):
                        for count in (1,) if delegate in _THREADLESS else threads:
                            yield Config(graph, width, height, delegate, count)


def graphs_for(kernel: str, delegate: str) -> tuple[str, ...]:
    """Return the graphs of a kernel that are made for a delegate."""
    return _LANES.get(kernel, {}).get(delegate, (kernel,))
