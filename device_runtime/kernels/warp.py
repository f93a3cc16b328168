"""``warp.tflite`` over whole frames: warps a key frame by a backward flow."""

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

# Pixels per strip: smaller strips have more call overhead, larger ones exceed a core's L2 cache.
STRIP_PIXELS = 24_576
CACHE_LINE = 64  # bytes
PAGE_PIXELS = 1024  # float32 values in a page of 4 KiB


class Warp:
    """Warps one key frame by many flows. Not thread-safe; key frames may differ in size.

    Args:
        path: ``warp.tflite``.
        threads: Number of interpreters and threads; defaults to one per core, at most 4. Each holds a copy of
            the key frame's atlas, 12 bytes per pixel.

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
        """Set the stylized key frame for the following flows.

        Args:
            key: uint8 RGB (H, W, 3); copied.

        Raises:
            KernelError: It has the wrong dtype or shape.
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
        """Return ``out[y, x] = key[y + dy, x + dx]``, bilinear, with clamped edges.

        Args:
            flow: Backward flow, float32 (H, W, 2), (dx, dy) in pixels, of the key frame's size.

        Returns:
            uint8 RGB (H, W, 3), rounded to nearest.

        Raises:
            KernelError: No key frame is set, or the flow has the wrong dtype or size, or values that are not
                finite.
        """
        height, width = self._size
        if not height:
            raise KernelError("Warp has no key frame yet", "Call set_key first")
        if flow.dtype != np.float32 or flow.shape != (height, width, 2):
            raise KernelError(f"Flow is {flow.dtype} {flow.shape}, not float32 {(height, width, 2)}")
        flow = np.ascontiguousarray(flow)
        out = np.empty((height, width, 3), np.uint8)
        # The last strip starts early enough to have full size; where strips overlap, both results agree.
        tops = [min(top, height - self._rows) for top in range(0, height, self._rows)]
        self._pool.run(tops, lambda interpreter, top: self._warp_strip(interpreter, top, flow, out))
        return out

    @property
    def last(self) -> KernelInterpreter:
        """The first interpreter, with the inputs and outputs of its last strip."""
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
        strip, row, column = (1, rows, width, 1), (1, 1, width, 1), (1, rows, 1, 1)
        shapes: dict[str, tuple[int, ...]] = {"atlas": (height * width, 12), "index": (rows * width,)}
        shapes |= {"flow_x": strip, "flow_y": strip, "left": row, "right": row, "up": column, "down": column}
        self._size = (0, 0)  # stays (0, 0) if a kernel rejects the shapes
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
        if not np.isfinite(flow[top : top + rows]).all():  # per strip, while it is in the cache
            check_finite(flow, "Flow")
        tensor = interpreter.tensor
        # Prefetch one byte of each cache line of the rows that a short flow points at. These loads overlap,
        # whereas the kernel's gather waits for each of them: it saves a sixth of the total time at 1080p.
        tensor("atlas")[top * width : (top + rows) * width].reshape(-1)[::CACHE_LINE].max()
        cv2.split(flow[top : top + rows], (tensor("flow_x")[0, ..., 0], tensor("flow_y")[0, ..., 0]))
        tensor("up")[...] = self._up[:, top : top + rows]
        tensor("down")[...] = self._down[:, top : top + rows]
        np.add(self._index, top * width, out=tensor("index"))
        interpreter.invoke()
        planes = tensor("warped").reshape(3, rows, width)
        cv2.merge((planes[0], planes[1], planes[2]), out[top : top + rows])


def strip_rows(height: int, width: int) -> int:
    """Return the number of rows per strip: as many as fit the cache, or fewer where that is faster.

    Strips that do not divide the frame's rows evenly process some rows twice. If a strip's planes are whole
    pages long, the same pixel of all planes maps to few cache sets: by measurement, that costs 5 % of the
    time, and another 5 % at multiples of four pages.
    """
    limit = max(1, min(height, STRIP_PIXELS // width))

    def cost(rows: int) -> float:
        pixels = rows * width
        crowded = (pixels % PAGE_PIXELS == 0) + (pixels % (4 * PAGE_PIXELS) == 0)
        return -(-height // rows) * rows * (1 + crowded / 20)

    return min(range(limit, limit * 3 // 4, -1), key=cost)


def row_bounds(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return how far up and down the flow may point from each row, in pixels: to the frame's edge.

    In frames of 2^24 pixels or more the range is limited, so that float32 represents the kernel's pixel
    offset exactly; at 7680x4320 the limit is 2183 rows.

    Returns:
        Two arrays float32 (1, H, 1, 1) of whole numbers: -y and H-1-y, within the limit.
    """
    rows = np.arange(height, dtype=np.float32).reshape(1, height, 1, 1)
    limit = np.float32(2**24 // width - 1)
    return np.maximum(-rows, -limit), np.minimum(height - 1 - rows, limit)


def _fill_atlas(key: NDArray[np.uint8], atlas: NDArray[np.uint8]) -> None:
    height, width = key.shape[:2]
    padded = cv2.copyMakeBorder(key, 0, 1, 0, 1, cv2.BORDER_REPLICATE)
    corners = [padded[y : y + height, x : x + width] for y in (0, 1) for x in (0, 1)]
    # Channel i of the four corners, concatenated to 12 channels, is channel i of the atlas.
    cv2.mixChannels(corners, [atlas], [i for channel in range(12) for i in (channel, channel)])
