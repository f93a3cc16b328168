"""``transfer.tflite``: apply a bilateral grid of affine color transforms to the planes of a frame.

A pixel reads the grid trilinearly at its place and its luma (`mvstylizer.stylizer.BilateralGrid`). There is
no gather, so that XNNPACK takes the whole graph as one partition:

- Place: for a tile of R rows and C columns, ``rows`` (R × cells) contains the two weights of each pixel row,
  ``columns`` (cells × C) those of each pixel column, and ``rows · cells · columns`` is one coefficient of one
  bin over the tile. Two small matrix products replace a resize, which would fix the sizes.
- Luma: bin k has the hat function max(0, 1 - |t - k|) as its weight, t being luma in units of bins. The
  transform of each bin is applied, and the results are summed with their weights.

The planes may be those of RGB or of Y'CbCr, and any number of output planes is computed: the caller gives the
coefficients in the planes' units, and the luma as a linear function of the planes. It feeds tiles, so that
the planes stay in a core's cache, with the bins that the tile's luma touches.
"""

from __future__ import annotations

from typing import Any

from export.kernels.convert import convert, tensorflow
from export.kernels.signature import DEFAULT_FRAME, Shapes
from mvstylizer.bundle import TensorSpec

TRANSFER_INPUTS = (
    TensorSpec("frame", "uint8", (1, 3, -1, -1), "NCHW, the tile's planes", "0..255"),
    TensorSpec(
        "cells",
        "float32",
        (-1, -1, -1, -1),
        "(the planes, 1) by output plane × bin × the tile's cells",
        "gray levels: biases are 255 times those of the unit range",
    ),
    TensorSpec("rows", "float32", (1, 1, -1, -1), "pixel row × cell row", "bilinear weight 0..1"),
    TensorSpec("columns", "float32", (1, 1, -1, -1), "cell column × pixel column", "bilinear weight 0..1"),
    TensorSpec("guide", "float32", (5, 1, 1, 1), "luma in bins: factors of the planes and 1; last bin", ""),
    TensorSpec("bins", "float32", (1, -1, 1, 1), "number of each bin in `cells`", ""),
)
TRANSFER_OUTPUTS = (TensorSpec("styled", "uint8", (-1, 1, -1, -1), "output plane × 1 × the tile", "0..255"),)


def build_transfer() -> bytes:
    """Build ``transfer.tflite`` and return its content.

    Raises:
        KernelBuildError: The converter wrote an operator that phones lack.
        MissingExtraError: TensorFlow is not installed.
    """
    tf = tensorflow()

    def transfer(frame: Any, cells: Any, rows: Any, columns: Any, guide: Any, bins: Any) -> Any:
        planes = [tf.cast(plane, tf.float32) for plane in tf.split(frame, 3, axis=1)]
        *gains, place, last = tf.split(guide, 5, axis=0)
        # Split the coefficients while they are few, since a split copies.
        *factors, bias = tf.split(tf.matmul(rows, cells), 4, axis=0)
        by_bin = tf.matmul(bias, columns)
        for gain, factor, plane in zip(gains, factors, planes, strict=True):
            place += gain * plane
            by_bin += tf.matmul(factor, columns) * plane
        hats = tf.nn.relu(1.0 - tf.abs(tf.minimum(tf.nn.relu(place), last) - bins))
        return tf.cast(tf.reduce_sum(by_bin * hats, axis=1, keepdims=True), tf.uint8)

    return convert(transfer, TRANSFER_INPUTS, TRANSFER_OUTPUTS, default=_default())


def _default() -> Shapes:
    """Return the inputs' shapes for a default frame as one tile, with a map of 9 × 16 cells and 6 bins."""
    (width, height), (rows, columns), bins = DEFAULT_FRAME, (9, 16), 6
    shapes = {"frame": (1, 3, height, width), "cells": (12, bins, rows, columns), "bins": (1, bins, 1, 1)}
    return {**shapes, "rows": (1, 1, height, rows), "columns": (1, 1, columns, width)}
