"""Benchmark configurations: kernel × resolution × delegate × threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

KERNELS = ("warp", "transfer", "key_frame")
WidthHeight = tuple[int, int]
RESOLUTIONS: tuple[WidthHeight, ...] = ((512, 256), (768, 384), (1024, 512), (1920, 1080))
THUMBNAIL = (160, 90)
_THREADLESS = ("gpu", "npu")  # not affected by the interpreter's CPU threads


class Config(NamedTuple):
    """One configuration, which is one row of the results.

    Attributes:
        kernel: One of `KERNELS`.
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
    """Yield every combination once, in order. `key_frame` works on a thumbnail, so it has one resolution."""
    for kernel in kernels:
        for width, height in [THUMBNAIL] if kernel == "key_frame" else resolutions:
            for delegate in delegates:
                for count in (1,) if delegate in _THREADLESS else threads:
                    yield Config(kernel, width, height, delegate, count)
