"""``transfer.tflite``: style an intermediate frame with an affine color map on a coarse grid.

The map has a 3×4 matrix [A | b] per grid cell. It is read bilinearly at every pixel (half-pixel centers,
edges clamped), and the pixel becomes A·rgb + 255·b, rounded to the nearest gray level and saturated.

Bilinear interpolation is separable: for a tile of R rows and C columns, ``rows`` (R × cells) contains the two
weights of each pixel row, ``columns`` (cells × C) those of each pixel column, and ``rows · cells · columns``
is the map over the tile. Two small matrix products replace a resize, which would fix the sizes and write
twelve planes of the whole frame to memory. The rest is multiply and add on planes. Without a gather, XNNPACK
takes the whole graph as one partition.

The caller feeds tiles, so that the twelve planes stay in a core's cache and a tile covers few cells.
"""

from __future__ import annotations

from typing import Any

from export.kernels.convert import convert, tensorflow
from mvstylizer.bundle import TensorSpec

TRANSFER_INPUTS = (
    TensorSpec("frame", "uint8", (1, 3, -1, -1), "NCHW RGB, the tile", "0..255"),
    TensorSpec("cells", "float32", (4, 3, -1, -1), "(r, g, b, 1) × RGB out × the tile's cells", "unit range"),
    TensorSpec("rows", "float32", (1, 1, -1, -1), "pixel row × cell row", "bilinear weight 0..1"),
    TensorSpec("columns", "float32", (1, 1, -1, -1), "cell column × pixel column", "bilinear weight 0..1"),
)
TRANSFER_OUTPUTS = (TensorSpec("styled", "uint8", (1, 3, -1, -1), "NCHW RGB, the tile", "0..255"),)


def build_transfer() -> bytes:
    """Build ``transfer.tflite`` and return its content.

    Raises:
        KernelBuildError: The converter wrote an operator that phones lack.
        MissingExtraError: TensorFlow is not installed.
    """
    tf = tensorflow()

    def transfer(frame: Any, cells: Any, rows: Any, columns: Any) -> Any:
        *factors, bias = tf.split(tf.matmul(rows, cells), 4, axis=0)
        # Scale the bias while it is small; split the planes while they are bytes, since a split copies.
        styled = tf.matmul(bias * 255.0, columns)
        for factor, plane in zip(factors, tf.split(frame, 3, axis=1), strict=True):
            styled += tf.matmul(factor, columns) * tf.cast(plane, tf.float32)
        return tf.cast(styled, tf.uint8)

    return convert(transfer, TRANSFER_INPUTS, TRANSFER_OUTPUTS)
