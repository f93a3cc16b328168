"""``warp_accel_WxH.tflite``: the warp for accelerators (GPU, Hexagon), whole frames of one static size.

The same formula as `export.kernels.warp`, in a form that these delegates accept whole and compute correctly:

- The flow stays *relative*: it is clamped so that it cannot leave the frame and split into floor and
  fraction, and only the int32 floor is added to the pixel's index. Float16 would round absolute coordinates
  by whole pixels.
- Every tensor has rank 4, because a GPU delegate miscomputes broadcasts of rank 2, except for the table and
  its indices.
- The key frame is a table of RGBX pixels, read by four one-dimensional GATHERs.
- Nothing depends on shapes at run time: no SHAPE, no RANGE, no int64.

Bounds beyond 2048 are not exact in float16, but they only limit flows of that length. Near the border, where
a clamp limits short flows, the bounds are small and exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from export.kernels.convert import convert, tensorflow
from mvstylizer.bundle import TensorSpec


def warp_accel_inputs(width: int, height: int) -> tuple[TensorSpec, ...]:
    """Return the manifest's rows of the inputs."""
    plane = (1, height, width, 1)
    rows = height * width + width + 1
    key = TensorSpec("key", "float32", (rows, 4), "pixels row by row, W+1 more: RGBX", "0..255")
    flow_x, flow_y = (
        TensorSpec(name, "float32", plane, "NHWC", "pixels, finite") for name in ("flow_x", "flow_y")
    )
    return key, flow_x, flow_y


def warp_accel_outputs(width: int, height: int) -> tuple[TensorSpec, ...]:
    """Return the manifest's row of the output."""
    return (TensorSpec("warped", "float32", (1, height, width, 4), "NHWC RGBX", "0..255, not rounded"),)


def build_warp_accel(width: int, height: int) -> bytes:
    """Build the file for frames of width × height and return its content.

    Raises:
        KernelBuildError: The converter wrote an operator that phones lack.
        MissingExtraError: TensorFlow is not installed.
    """
    tf = tensorflow()
    columns = np.arange(width, dtype=np.float32)[None, None, :, None]
    rows = np.arange(height, dtype=np.float32)[None, :, None, None]

    def split_flow(flow: Any, position: Any, last: int) -> tuple[Any, Any]:
        inside = tf.minimum(tf.maximum(flow, -position), last - position)
        whole = tf.floor(inside)
        return tf.cast(whole, tf.int32) + position.astype(np.int32), inside - whole

    def warp(key: Any, flow_x: Any, flow_y: Any) -> Any:
        left, across = split_flow(flow_x, columns, width - 1)
        top, along = split_flow(flow_y, rows, height - 1)
        # This order of sums keeps the converter from folding two constants into one larger than a row.
        flat = tf.reshape(top * width + left, [height * width])

        def corner(offset: int) -> Any:
            return tf.reshape(tf.gather(key, flat + offset if offset else flat), [1, height, width, 4])

        here, right_of, below, both = (corner(offset) for offset in (0, 1, width, width + 1))
        upper = here + (right_of - here) * across
        lower = below + (both - below) * across
        return upper + (lower - upper) * along

    return convert(warp, warp_accel_inputs(width, height), warp_accel_outputs(width, height))
