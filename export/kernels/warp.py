"""``warp.tflite``: warp the stylized key frame with a backward flow (the paper's Eq. 1).

Pixel (x, y) of the output is the key frame's color at (x + dx, y + dy), read bilinearly and rounded to the
nearest gray level. Positions outside the frame read its edge.

The flow is clamped so that it cannot leave the frame (-x ≤ dx ≤ W-1-x, the same for y), then split into floor
and fraction. The floors become one step in pixels, ``floor(dy)·W + floor(dx)``, which is added to the pixel's
index as int32: absolute coordinates never exist in floating point. The step does, because XNNPACK multiplies
floats but not int32. It is exact below 2^24; `warp_accel`, for float16, avoids it.

The fraction weights four neighbors. They are stored together in one 12-byte row of the *atlas* (the key
frame's pixel, its right, lower and lower right neighbor, built once per key frame), so one lookup per pixel
fetches all of them. The lookup is EMBEDDING_LOOKUP instead of GATHER: both copy rows, but GATHER first reads
all indices to check them. The four weights of a pixel are shared by its three channels, which takes fewer
passes than three linear interpolations per channel. Blending works on planes: rows of one channel.

The caller feeds R rows at a time, so that intermediate results stay in a core's cache. From strip to strip of
a frame only the flow, ``up``, ``down`` and ``index`` change.
"""

from __future__ import annotations

from typing import Any

from export.kernels.convert import convert, gather_to_lookup, tensorflow
from export.kernels.signature import DEFAULT_FRAME, Shapes
from mvstylizer.bundle import TensorSpec

WARP_INPUTS = (
    TensorSpec("atlas", "uint8", (-1, 12), "pixel of the key frame: it, right, below, both; RGB", "0..255"),
    TensorSpec("flow_x", "float32", (1, -1, -1, 1), "NHWC, rows of the strip", "pixels, finite"),
    TensorSpec("flow_y", "float32", (1, -1, -1, 1), "NHWC, rows of the strip", "pixels, finite"),
    TensorSpec("left", "float32", (1, 1, -1, 1), "column", "-x, whole"),
    TensorSpec("right", "float32", (1, 1, -1, 1), "column", "W-1-x, whole"),
    TensorSpec("up", "float32", (1, -1, 1, 1), "row of the strip", "-y, whole"),
    TensorSpec("down", "float32", (1, -1, 1, 1), "row of the strip", "H-1-y, whole"),
    TensorSpec("index", "int32", (-1,), "pixel of the strip", "its index in the frame"),
    TensorSpec("width", "float32", (1,), "one number", "W"),
)
WARP_OUTPUTS = (TensorSpec("warped", "uint8", (3, -1), "RGB planes of the strip's pixels", "0..255"),)


def build_warp() -> bytes:
    """Build ``warp.tflite`` and return its content.

    Raises:
        KernelBuildError: The converter wrote an operator that phones lack.
        MissingExtraError: TensorFlow is not installed.
    """
    tf = tensorflow()

    def split_flow(flow: Any, low: Any, high: Any) -> tuple[Any, Any]:
        inside = tf.minimum(tf.maximum(flow, low), high)
        whole = tf.floor(inside)
        return whole, tf.reshape(inside - whole, [1, -1])

    def warp(
        atlas: Any,
        flow_x: Any,
        flow_y: Any,
        left: Any,
        right: Any,
        up: Any,
        down: Any,
        index: Any,
        width: Any,
    ) -> Any:
        columns, across = split_flow(flow_x, left, right)
        rows, along = split_flow(flow_y, up, down)
        step = tf.cast(tf.reshape(rows * width + columns, [-1]), tf.int32)
        # Generic tools feed any numbers. The bounds have the index's shape: TFLite broadcasts int32 slowly.
        last = tf.fill(tf.shape(index), tf.shape(atlas)[0] - 1)
        place = tf.minimum(tf.maximum(index + step, tf.zeros_like(index)), last)
        # Split the corners while they are bytes, since a split copies.
        corners = tf.split(tf.transpose(tf.gather(atlas, place)), 4, axis=0)
        both = across * along
        right_of, below = across - both, along - both
        blend = 0.0
        for corner, weight in zip(corners, (1.0 - across - below, right_of, below, both), strict=True):
            blend += tf.cast(corner, tf.float32) * weight
        return tf.cast(blend, tf.uint8)

    return gather_to_lookup(convert(warp, WARP_INPUTS, WARP_OUTPUTS, default=_default()))


def _default() -> Shapes:
    """Return the inputs' shapes for a default frame as one strip."""
    width, height = DEFAULT_FRAME
    flow = (1, height, width, 1)
    columns, rows, pixels = (1, 1, width, 1), (1, height, 1, 1), height * width
    shapes = {"atlas": (pixels, 12), "flow_x": flow, "flow_y": flow, "index": (pixels,)}
    return {**shapes, "left": columns, "right": columns, "up": rows, "down": rows}
