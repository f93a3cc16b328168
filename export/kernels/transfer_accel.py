"""``transfer_accel_WxH.tflite``: the transfer for accelerators, whole frames of one static size.

The same formula as `export.kernels.transfer`: the bilateral grid, read trilinearly at each pixel's place and
luma, is applied to the pixel. Here one RESIZE_BILINEAR of twelve channels per bin reads the grid, four
products of rank 4 apply it, and the hat function of the bin over luma weights the result: GPU and NPU
delegates run these without a gather, and no index or large sum depends on float16. One bin after another
keeps the twelve planes of one bin in memory, not of all.
"""

from __future__ import annotations

from typing import Any

from export.kernels.convert import convert, tensorflow
from mvstylizer.bundle import TensorSpec
from mvstylizer.stylizer import GUIDE


def transfer_accel_inputs(
    width: int, height: int, columns: int, rows: int, bins: int
) -> tuple[TensorSpec, ...]:
    """Return the manifest's rows of the inputs, for a grid of rows × columns × bins."""
    return (
        TensorSpec("frame", "float32", (1, height, width, 3), "NHWC RGB", "0..255"),
        TensorSpec(
            "cells",
            "float32",
            (1, rows, columns, 12 * bins),
            "NHW(bins×4×3), per bin (r, g, b, 1) × RGB",
            "unit range",
        ),
    )


def transfer_accel_outputs(width: int, height: int) -> tuple[TensorSpec, ...]:
    """Return the manifest's row of the output."""
    return (TensorSpec("styled", "float32", (1, height, width, 3), "NHWC RGB", "0..255, not rounded"),)


def build_transfer_accel(width: int, height: int, columns: int, rows: int, bins: int) -> bytes:
    """Build the file for frames of width × height and grids of rows × columns × bins; return its content.

    Raises:
        KernelBuildError: The converter wrote an operator that phones lack.
        MissingExtraError: TensorFlow is not installed.
    """
    tf = tensorflow()

    def transfer(frame: Any, cells: Any) -> Any:
        r, g, b = tf.split(frame, 3, axis=3)
        scale = (bins - 1) / 255
        place = r * (GUIDE[0] * scale) + g * (GUIDE[1] * scale) + b * (GUIDE[2] * scale)
        styled = None
        for number, cell in enumerate(tf.split(cells, bins, axis=3)):
            red, green, blue, bias = tf.split(tf.image.resize(cell, [height, width]), 4, axis=3)
            hat = tf.nn.relu(1.0 - tf.abs(place - float(number)))
            part = hat * (red * r + green * g + blue * b + bias * 255.0)
            styled = part if styled is None else styled + part
        return tf.clip_by_value(styled, 0.0, 255.0)

    inputs = transfer_accel_inputs(width, height, columns, rows, bins)
    return convert(transfer, inputs, transfer_accel_outputs(width, height))
