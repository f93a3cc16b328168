"""``transfer.tflite``: apply a bilateral grid of affine color transforms to the planes of a frame.

A pixel reads the grid trilinearly at its place and its luma (`mvstylizer.stylizer.BilateralGrid`). There is
no gather, so that XNNPACK takes the whole graph as one partition:

- Luma: bin k has the hat function max(0, 1 - |t - k|) as its weight, t being luma in units of bins. All
  bins are computed and summed with their weights.
- Place: a tile lies between the centers of two rows of cells, over a few columns of them. The two rows are
  blended on the coefficients, which are few. The columns are blended on the planes: the three planes and 1,
  each times the weight of each column, are 4 × columns planes, and one matrix product for each pixel row,
  (bins) × (4 × columns) by (4 × columns) × (pixels), applies the transforms of all bins.

The planes may be those of RGB or of Y'CbCr, and any number of output planes is computed: the caller gives the
coefficients in the planes' units, and the luma as a linear function of the planes.

The caller feeds tiles, so that the planes stay in a core's cache.
"""

from __future__ import annotations

from typing import Any

from export.kernels.convert import convert, tensorflow
from mvstylizer.bundle import TensorSpec

TRANSFER_INPUTS = (
    TensorSpec("frame", "uint8", (3, -1, 1, -1), "plane × row × 1 × column, the tile", "0..255"),
    TensorSpec(
        "cells",
        "float32",
        (-1, 2, -1, -1),
        "output plane × (upper, lower) × bin × (the planes, 1; columns of each)",
        "gray levels: biases are 255 times those of the unit range",
    ),
    TensorSpec("rows", "float32", (1, -1, 1, 1), "weight of the lower cells for each pixel row", "0..1"),
    TensorSpec("columns", "float32", (1, 1, -1, -1), "weight of each column of cells × pixel", "0..1"),
    TensorSpec("guide", "float32", (5, 1, 1, 1), "luma in bins: factors of the planes and 1; last bin", ""),
    TensorSpec("bins", "float32", (1, 1, -1, 1), "number of each bin: 0, 1, …", ""),
)
TRANSFER_OUTPUTS = (
    TensorSpec("styled", "uint8", (-1, -1, 1, -1), "plane × row × 1 × column, the tile", "0..255"),
)


def build_transfer() -> bytes:
    """Build ``transfer.tflite`` and return its content.

    Raises:
        KernelBuildError: The converter wrote an operator that phones lack.
        MissingExtraError: TensorFlow is not installed.
    """
    tf = tensorflow()

    def transfer(frame: Any, cells: Any, rows: Any, columns: Any, guide: Any, bins: Any) -> Any:
        planes = [tf.cast(plane, tf.float32) for plane in tf.split(frame, 3, axis=0)]
        *gains, offset, last = tf.split(guide, 5, axis=0)
        place = offset
        for gain, plane in zip(gains, planes, strict=True):
            place += gain * plane
        place = tf.minimum(tf.nn.relu(place), last)
        hats = tf.nn.relu(1.0 - tf.abs(place - bins))
        ones = rows * 0.0 + 1.0
        sides = tf.concat([plane * columns for plane in (*planes, ones)], axis=2)
        upper, lower = tf.split(cells, 2, axis=1)
        by_bin = tf.matmul(upper + rows * (lower - upper), sides)
        return tf.cast(tf.reduce_sum(by_bin * hats, axis=2, keepdims=True), tf.uint8)

    return convert(transfer, TRANSFER_INPUTS, TRANSFER_OUTPUTS)
