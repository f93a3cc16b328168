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
    balanced,
    check_finite,
    check_image,
)

# A strip of this many pixels keeps what the kernel works on at a time within a core's L2 cache.
STRIP_PIXELS = 16_384


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
        atlas = first.input("atlas")
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
        rows = balanced(height, STRIP_PIXELS // width)
        strip = (1, rows, width, 1)
        shapes = {
            "atlas": (height * width, 12), "flow_x": strip, "flow_y": strip,
            "left": (1, 1, width, 1), "right": (1, 1, width, 1),
            "up": (1, rows, 1, 1), "down": (1, rows, 1, 1), "offset": (rows * width,),
        }  # fmt: skip
        self._size = (0, 0)  # stays so if a kernel refuses the shapes
        columns = np.arange(width, dtype=np.float32).reshape(1, 1, width, 1)
        lines = np.arange(rows, dtype=np.int32).reshape(1, rows, 1, 1)
        for interpreter in self._pool.interpreters:
            interpreter.resize(shapes)
            interpreter.put("left", -columns)
            interpreter.put("right", width - 1 - columns)
            interpreter.put("up", -lines)
            interpreter.put("down", height - 1 - lines)
            interpreter.put("offset", np.arange(rows * width, dtype=np.int32))
            interpreter.put("width", np.array([width], np.int32))
        self._size, self._rows = (height, width), rows

    def _warp_strip(
        self, interpreter: KernelInterpreter, top: int, flow: NDArray[np.float32], out: NDArray[np.uint8]
    ) -> None:
        width, rows = self._size[1], self._rows
        if not np.isfinite(flow[top : top + rows]).all():  # a strip at a time, while it is in the cache
            check_finite(flow, "Flow")
        flow_x = interpreter.input("flow_x").reshape(rows, width)
        flow_y = interpreter.input("flow_y").reshape(rows, width)
        cv2.split(flow[top : top + rows], (flow_x, flow_y))
        del flow_x, flow_y
        interpreter.put("top", np.array([top], np.int32))
        interpreter.invoke()
        planes = interpreter.output("warped").reshape(3, rows, width)
        cv2.merge((planes[0], planes[1], planes[2]), out[top : top + rows])


def _fill_atlas(key: NDArray[np.uint8], atlas: NDArray[np.uint8]) -> None:
    height, width = key.shape[:2]
    padded = cv2.copyMakeBorder(key, 0, 1, 0, 1, cv2.BORDER_REPLICATE)
    corners = [padded[y : y + height, x : x + width] for y in (0, 1) for x in (0, 1)]
    # Channel i of the four corners, taken as one list of 12, is channel i of the atlas.
    cv2.mixChannels(corners, [atlas], [i for channel in range(12) for i in (channel, channel)])
