"""``warp.tflite`` over whole frames: an intermediate frame from a key frame and a backward flow."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from device_runtime.kernels.interpreter import (
    KernelError,
    KernelInterpreter,
    KernelPool,
    check_finite,
    check_image,
)

# Strips of this many pixels: smaller ones pay for their calls, larger ones leave a core's L2 cache.
STRIP_PIXELS = 24_576
CACHE_LINE = 64  # bytes
PAGE_PIXELS = 1024  # a page of 4 KiB holds so many of a float32 plane


class Warp:
    """Warps one key frame by many flows. One call at a time; the frames may change size between keys.

    Args:
        path: ``warp.tflite``.
        threads: Interpreters and threads; None takes one per core, at most 4. Each holds its own copy of
            the key frame's atlas, 12 bytes a pixel.

    Raises:
        KernelError: The file cannot be loaded.
    """

    def __init__(self, path: Path | str, *, threads: int | None = None) -> None:
        self._pool = KernelPool(path, threads)
        self._size = (0, 0)
        self._rows = 0
        self._index = np.empty(0, np.int32)
        self._up = self._down = np.empty((1, 0, 1, 1), np.float32)

    def set_key(self, key: NDArray[np.uint8]) -> None:
        """Take the stylized key frame that the following flows refer to.

        Args:
            key: uint8 RGB (H, W, 3); copied.

        Raises:
            KernelError: Another dtype or shape.
        """
        check_image(key, "Key frame")
        if key.shape[:2] != self._size:
            self._resize(*key.shape[:2])
        first, *others = self._pool.interpreters
        atlas = first.tensor("atlas")
        _fill_atlas(key, atlas.reshape(*self._size, 12))
        for other in others:
            other.put("atlas", atlas)

    def __call__(self, flow: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return ``out[y, x] = key[y + dy, x + dx]``, bilinear, edges clamped.

        Args:
            flow: Backward flow float32 (H, W, 2), (dx, dy) in pixels, of the key frame's size.

        Returns:
            uint8 RGB (H, W, 3), rounded to the nearest.

        Raises:
            KernelError: No key frame yet, another dtype or size, or values that are not finite.
        """
        height, width = self._size
        if not height:
            raise KernelError("Warp has no key frame yet", "Call set_key first")
        if flow.dtype != np.float32 or flow.shape != (height, width, 2):
            raise KernelError(f"Flow is {flow.dtype} {flow.shape}, not float32 {(height, width, 2)}")
        flow = np.ascontiguousarray(flow)
        out = np.empty((height, width, 3), np.uint8)
        # The last strip starts early enough to be whole; rows it shares with its neighbour come out equal.
        tops = [min(top, height - self._rows) for top in range(0, height, self._rows)]
        self._pool.run(tops, lambda interpreter, top: self._warp_strip(interpreter, top, flow, out))
        return out

    @property
    def last(self) -> KernelInterpreter:
        """The first interpreter, which still holds inputs and outputs of the last strip that it did."""
        return self._pool.interpreters[0]

    def close(self) -> None:
        """Stop the threads."""
        self._pool.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the threads."""
        self.close()

    def _resize(self, height: int, width: int) -> None:
        rows = strip_rows(height, width)
        strip = (1, rows, width, 1)
        shapes = {
            "atlas": (height * width, 12), "flow_x": strip, "flow_y": strip,
            "left": (1, 1, width, 1), "right": (1, 1, width, 1),
            "up": (1, rows, 1, 1), "down": (1, rows, 1, 1), "index": (rows * width,),
        }  # fmt: skip
        self._size = (0, 0)  # stays so if a kernel refuses the shapes
        columns = np.arange(width, dtype=np.float32).reshape(1, 1, width, 1)
        self._up, self._down = row_bounds(height, width)
        self._index = np.arange(rows * width, dtype=np.int32)
        for interpreter in self._pool.interpreters:
            interpreter.resize(shapes)
            interpreter.put("left", -columns)
            interpreter.put("right", width - 1 - columns)
            interpreter.put("width", np.array([width], np.float32))
        self._size, self._rows = (height, width), rows

    def _warp_strip(
        self, interpreter: KernelInterpreter, top: int, flow: NDArray[np.float32], out: NDArray[np.uint8]
    ) -> None:
        width, rows = self._size[1], self._rows
        if not np.isfinite(flow[top : top + rows]).all():  # a strip at a time, while it is in the cache
            check_finite(flow, "Flow")
        tensor = interpreter.tensor
        # Read one byte of each cache line of the rows that a short flow points at. The loads overlap, whereas
        # the kernel's gather would wait for each: a sixth of the whole time at 1080p.
        tensor("atlas")[top * width : (top + rows) * width].reshape(-1)[::CACHE_LINE].max()
        cv2.split(flow[top : top + rows], (tensor("flow_x")[0, ..., 0], tensor("flow_y")[0, ..., 0]))
        tensor("up")[...] = self._up[:, top : top + rows]
        tensor("down")[...] = self._down[:, top : top + rows]
        np.add(self._index, top * width, out=tensor("index"))
        interpreter.invoke()
        planes = tensor("warped").reshape(3, rows, width)
        cv2.merge((planes[0], planes[1], planes[2]), out[top : top + rows])


def strip_rows(height: int, width: int) -> int:
    """Return how many rows a strip of a frame takes: as many as fit the cache, fewer where that is faster.

    Strips that do not share out the frame's rows evenly do some of them twice. And where a strip's planes are
    whole pages long, the same pixel of all of them falls into few sets of the cache: as measured, that costs
    a twentieth of the time, and as much again at multiples of four pages.
    """
    most = max(1, min(height, STRIP_PIXELS // width))

    def cost(rows: int) -> float:
        pixels = rows * width
        crowded = (pixels % PAGE_PIXELS == 0) + (pixels % (4 * PAGE_PIXELS) == 0)
        return -(-height // rows) * rows * (1 + crowded / 20)

    return min(range(most, most * 3 // 4, -1), key=cost)


def row_bounds(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return how far up and down the flow may point at each row, in pixels: to the frame's edge.

    In frames of 2^24 pixels and more it may point less far, so that float32 still holds the step in pixels
    that the kernel makes of it; at 7680x4320 these are 2183 rows.

    Returns:
        float32 (1, H, 1, 1) twice, whole: -y, and H-1-y.
    """
    rows = np.arange(height, dtype=np.float32).reshape(1, height, 1, 1)
    most = np.float32(2**24 // width - 1)
    return np.maximum(-rows, -most), np.minimum(height - 1 - rows, most)


def _fill_atlas(key: NDArray[np.uint8], atlas: NDArray[np.uint8]) -> None:
    height, width = key.shape[:2]
    padded = cv2.copyMakeBorder(key, 0, 1, 0, 1, cv2.BORDER_REPLICATE)
    corners = [padded[y : y + height, x : x + width] for y in (0, 1) for x in (0, 1)]
    # Channel i of the four corners, taken as one list of 12, is channel i of the atlas.
    cv2.mixChannels(corners, [atlas], [i for channel in range(12) for i in (channel, channel)])
