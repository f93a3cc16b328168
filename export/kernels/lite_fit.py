"""The guided finish of `training.affine` as TensorFlow functions, for TFLite: fit a grid of affine maps.

Pictures are 1×h×w×3 float32, grids 1×gh×gw×C.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from export.kernels.convert import tensorflow
from export.kernels.lite_color import CHANNELS, LiteGrade, apply_affine, curve_slope, pointwise
from export.runtimes.difference import Array
from training.local_linear import MIDDLE

_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
_CROSSES = tuple((CHANNELS + i, j) for i in range(CHANNELS) for j in range(CHANNELS))


def fit_map(content: Any, stylized: Any, grade: LiteGrade, cell: int, ridge: float) -> Any:
    """Fit the grid of affine maps between a picture and its stylization; see `training.affine.fit_map`.

    Args:
        content: x, 1×h×w×3 in the unit range; h and w are multiples of `cell`.
        stylized: y, same shape.
        grade: Defines the gain that a cell is regularized towards, and the factor on local contrast.
        cell: Side of a cell in pixels.
        ridge: Regularization, a variance in the unit range.

    Returns:
        1×h/cell×w/cell×12.
    """
    tf = tensorflow()
    both = tf.concat([content, stylized], axis=3) - MIDDLE
    factors = (pointwise(both, _picked(side)) for side in (0, 1))
    products = reduce(lambda first, second: first * second, factors)
    means = blurred(tf.nn.avg_pool2d(both, cell, cell, "VALID"), 6)
    moments = blurred(tf.nn.avg_pool2d(products, cell, cell, "VALID"), 15)
    covariances = moments - pointwise(means, _picked(0)) * pointwise(means, _picked(1))
    mean_x, mean_y = tf.split(means + MIDDLE, 2, axis=3)
    planes = [covariances[:, :, :, k : k + 1] for k in range(15)]
    rows = _rows(planes, _gains(grade, mean_x), ridge)
    gains = [[value * grade.detail[:, None, None] for value in row] for row in rows]
    x, y = tf.split(mean_x, CHANNELS, axis=3), tf.split(mean_y, CHANNELS, axis=3)
    lines = [
        tf.concat([*row, y[i] - _sum(g * m for g, m in zip(row, x, strict=True))], axis=3)
        for i, row in enumerate(gains)
    ]
    return blurred(tf.concat(lines, axis=3), 12)


def blurred(grid: Any, channels: int) -> Any:
    """Blur with 1-2-1 in both directions, edges replicated."""
    tf = tensorflow()
    kernel = np.outer([1, 2, 1], [1, 2, 1])[:, :, None, None] / 16
    kernel = tf.constant(np.repeat(kernel, channels, axis=2), tf.float32)
    return tf.nn.depthwise_conv2d(extended(grid, 1), kernel, [1, 1, 1, 1], "VALID")


def extended(picture: Any, by: int) -> Any:
    """Replicate a picture's edges by `by` pixels (with slices: XNNPACK has no mirrored padding)."""
    tf = tensorflow()
    wide = tf.concat([*[picture[:, :, :1]] * by, picture, *[picture[:, :, -1:]] * by], axis=2)
    return tf.concat([*[wide[:, :1]] * by, wide, *[wide[:, -1:]] * by], axis=1)


def _gains(grade: LiteGrade, colors: Any) -> list[list[Any]]:
    """Return the grade's gain T at each cell's color, row by row."""
    tf = tensorflow()
    slopes = tf.split(curve_slope(grade, apply_affine(grade, colors)), CHANNELS, axis=3)
    return [
        [slopes[i] * grade.matrix[:, i : i + 1, j : j + 1][:, None] for j in range(CHANNELS)]
        for i in range(CHANNELS)
    ]


def _rows(covariances: list[Any], start: list[list[Any]], ridge: float) -> list[list[Any]]:
    """Return T + (cov(y, x) - T·cov(x, x)) · (cov(x, x) + ridge·I)^-1, row by row."""
    of = dict(zip(_PAIRS, covariances[:6], strict=True))
    xx = [[of[min(i, j), max(i, j)] for j in range(CHANNELS)] for i in range(CHANNELS)]
    inverse = _inverse([c + ridge if i == j else c for (i, j), c in of.items()])
    rows = []
    for i in range(CHANNELS):
        yx = covariances[6 + CHANNELS * i : 9 + CHANNELS * i]
        left = [yx[j] - _sum(start[i][k] * xx[k][j] for k in range(CHANNELS)) for j in range(CHANNELS)]
        more = [_sum(left[k] * inverse[k][j] for k in range(CHANNELS)) for j in range(CHANNELS)]
        rows.append([start[i][j] + more[j] for j in range(CHANNELS)])
    return rows


def _inverse(upper: list[Any]) -> list[list[Any]]:
    """Invert symmetric positive definite 3×3 matrices [a00, a01, a02, a11, a12, a22] by cofactors."""
    a, b, c, d, e, f = upper
    c00, c01, c02 = d * f - e * e, c * e - b * f, b * e - c * d
    c11, c12, c22 = a * f - c * c, b * c - a * e, a * d - b * b
    scale = 1.0 / (a * c00 + b * c01 + c * c02)
    i00, i01, i02, i11, i12, i22 = (m * scale for m in (c00, c01, c02, c11, c12, c22))
    return [[i00, i01, i02], [i01, i11, i12], [i02, i12, i22]]


def _picked(side: int) -> Array:
    """Return the 6×15 kernel that selects one factor of each product."""
    return np.eye(2 * CHANNELS)[:, [pair[side] for pair in (*_PAIRS, *_CROSSES)]]


def _sum(terms: Iterable[Any]) -> Any:
    return reduce(add, terms)
