"""``transfer_accel_WxH.tflite``: the affine transfer for accelerators, whole frames of one static size.

The same formula as `export.kernels.transfer`: the map of 3×4 matrices, read bilinearly at every pixel
(half-pixel centers, edges clamped), is applied to the pixel. Here one RESIZE_BILINEAR of twelve channels
reads the map, and four products of rank 4 apply it: GPU and NPU delegates run these without a gather. Planes
of the whole frame, too large for a CPU's cache, cost an accelerator little.
"""

from __future__ import annotations

from typing import Any

from export.kernels.convert import convert, tensorflow
from mvstylizer.bundle import TensorSpec


def transfer_accel_inputs(width: int, height: int, columns: int, rows: int) -> tuple[TensorSpec, ...]:
    """Return the manifest's rows of the inputs, for a map of rows × columns cells."""
    shape = (1, rows, columns, 12)
    return (
        TensorSpec("frame", "float32", (1, height, width, 3), "NHWC RGB", "0..255"),
        TensorSpec("cells", "float32", shape, "NHW(4×3), (r, g, b, 1) × RGB", "unit range"),
    )


def transfer_accel_outputs(width: int, height: int) -> tuple[TensorSpec, ...]:
    """Return the manifest's row of the output."""
    return (TensorSpec("styled", "float32", (1, height, width, 3), "NHWC RGB", "0..255, not rounded"),)


def build_transfer_accel(width: int, height: int, columns: int, rows: int) -> bytes:
    """Build the file for frames of width × height and maps of rows × columns cells; return its content.

    Raises:
        KernelBuildError: The converter wrote an operator that phones lack.
        MissingExtraError: TensorFlow is not installed.
    """
    tf = tensorflow()

    def transfer(frame: Any, cells: Any) -> Any:
        dense = tf.image.resize(cells, [height, width])
        red, green, blue, bias = tf.split(dense, 4, axis=3)
        r, g, b = tf.split(frame, 3, axis=3)
        return tf.clip_by_value(red * r + green * g + blue * b + bias * 255.0, 0.0, 255.0)

    inputs = transfer_accel_inputs(width, height, columns, rows)
    return convert(transfer, inputs, transfer_accel_outputs(width, height))
