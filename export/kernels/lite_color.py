"""The global grade of `training.color` and `training.grading` as TensorFlow functions, for TFLite.

Pictures are 1×h×w×3 float32 RGB in the unit range, with dynamic h and w. No operation reads them at run time,
because XNNPACK does not run graphs with computed shapes: channels are selected, repeated and summed by 1×1
convolutions with constant kernels. Means are taken along one axis after the other, which keeps two more
digits in float32 than a mean over all pixels at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from training.color import ITERATIONS, NOISE_VARIANCE
from training.grading import KNOTS, MAX_DETAIL, MAX_LOG_SLOPE, MIN_DETAIL, SEGMENTS

from export.kernels.convert import tensorflow
from export.runtimes.difference import Array

CHANNELS = 3


class LiteGrade(NamedTuple):
    """The grade of a picture.

    Attributes:
        matrix: 1×3×3, A of the affine part, including the transport.
        shift: 1×3, b of the affine part, in the unit range.
        bends: 1×1×27×3, change of the tone curve's slope at each knot of each channel.
        detail: 1×1, factor on local contrast.
    """

    matrix: Any
    shift: Any
    bends: Any
    detail: Any


def spatial_mean(picture: Any) -> Any:
    """Return the mean over all positions of 1×h×w×C values, 1×C."""
    tf = tensorflow()
    return tf.reduce_mean(tf.reduce_mean(picture, axis=2), axis=1)


def pointwise(picture: Any, kernel: Array) -> Any:
    """Multiply the channels of 1×h×w×C values by a constant C×D matrix."""
    tf = tensorflow()
    return tf.nn.conv2d(picture, tf.constant(kernel[None, None], tf.float32), 1, "VALID")


def color_moments(picture: Any) -> tuple[Any, Any]:
    """Return mean (1×3) and covariance (1×3×3) of a picture's colors; see `training.color`."""
    tf = tensorflow()
    mean = spatial_mean(picture)
    centered = picture - tf.reshape(mean, [1, 1, 1, CHANNELS])
    repeated = pointwise(centered, np.repeat(np.eye(CHANNELS), CHANNELS, axis=1))
    products = repeated * pointwise(centered, np.tile(np.eye(CHANNELS), CHANNELS))
    return mean, tf.reshape(spatial_mean(products), [1, CHANNELS, CHANNELS])


def square_roots(matrix: Any) -> tuple[Any, Any]:
    """Return the square root and inverse square root of a 1×3×3 matrix; see `training.color`."""
    tf = tensorflow()
    eye = tf.eye(CHANNELS)[None]
    trace = tf.reshape(tf.reduce_sum(matrix * eye, axis=[1, 2]), [1, 1, 1])
    root, inverse = matrix / trace, eye
    for _ in range(ITERATIONS):
        step = 1.5 * eye - 0.5 * tf.matmul(inverse, root)
        root, inverse = tf.matmul(root, step), tf.matmul(step, inverse)
    return root * tf.sqrt(trace), inverse / tf.sqrt(trace)


def style_color(style: Any) -> tuple[Any, Any]:
    """Return a style picture's mean (1×3) and the root of its covariance (1×3×3)."""
    mean, covariance = color_moments(style)
    return mean, square_roots(covariance + NOISE_VARIANCE * tensorflow().eye(CHANNELS)[None])[0]


def transport(content: Any, mean_s: Any, root_s: Any) -> tuple[Any, Any]:
    """Return matrix (1×3×3) and shift (1×3) of the closed-form map from a picture's colors to a style's."""
    tf = tensorflow()
    mean_c, cov_c = color_moments(content)
    middle = tf.matmul(tf.matmul(root_s, cov_c + NOISE_VARIANCE * tf.eye(CHANNELS)[None]), root_s)
    gain = tf.matmul(tf.matmul(root_s, square_roots(middle)[1]), root_s)
    return gain, mean_s - tf.reduce_sum(gain * mean_c[:, None], axis=2)


def tones(picture: Any) -> Any:
    """Return the distribution of a picture's values over the curve's knots, 1×27; see `training.grading`."""
    tf = tensorflow()
    away = tf.abs(_from_knots(picture, SEGMENTS))
    return spatial_mean(tf.nn.relu(1.0 - away))


def as_grade(numbers: Any, gain: Any, shift: Any) -> LiteGrade:
    """Build a grade from its parameters (1×37) on top of a transport; see `training.grading`."""
    tf = tensorflow()
    change = tf.reshape(numbers[:, :12], [1, CHANNELS, CHANNELS + 1])
    turned, added = change[:, :, :CHANNELS], tf.reshape(change[:, :, CHANNELS:], [1, CHANNELS])
    slopes = tf.exp(MAX_LOG_SLOPE * tf.tanh(numbers[:, 12:-1] / MAX_LOG_SLOPE))
    # Beyond both ends of the curve the slope is 1.
    ends = tf.ones([1, CHANNELS, 1])
    slopes = tf.concat([ends, tf.reshape(slopes, [1, CHANNELS, SEGMENTS]), ends], axis=2)
    bends = tf.reshape(slopes[:, :, 1:] - slopes[:, :, :-1], [1, 1, CHANNELS * KNOTS, 1])
    detail = numbers[:, -1:]
    crisper = MAX_DETAIL * tf.tanh(tf.nn.relu(detail) / MAX_DETAIL)
    softer = MIN_DETAIL * tf.tanh(tf.minimum(detail, 0.0) / MIN_DETAIL)
    return LiteGrade(
        gain + tf.matmul(turned, gain),
        shift + tf.reduce_sum(turned * shift[:, None], axis=2) + added,
        bends * np.repeat(np.eye(CHANNELS, dtype=np.float32), KNOTS, axis=0)[None, None],
        tf.exp(crisper + softer),
    )


def apply_grade(grade: LiteGrade, picture: Any) -> Any:
    """Apply affine part and tone curve to a picture (not clamped)."""
    return tone_curve(grade, apply_affine(grade, picture))


def apply_affine(grade: LiteGrade, picture: Any) -> Any:
    """Apply the affine part alone."""
    tf = tensorflow()
    return tf.matmul(picture, grade.matrix[:, None], transpose_b=True) + grade.shift[:, None, None]


def tone_curve(grade: LiteGrade, picture: Any) -> Any:
    """Apply the rising curves: slope 1, plus a change of slope at each knot."""
    tf = tensorflow()
    return picture + tf.matmul(tf.nn.relu(_from_knots(picture, 1)), grade.bends)


def curve_slope(grade: LiteGrade, picture: Any) -> Any:
    """Return the curve's slope around a picture's values, as a chord over half a segment on each side."""
    half = 0.5 / SEGMENTS
    return (tone_curve(grade, picture + half) - tone_curve(grade, picture - half)) / (2 * half)


def _from_knots(picture: Any, scale: int) -> Any:
    """Return scale·(value - knot) for each channel and knot, 1×h×w×27."""
    kernel = scale * np.repeat(np.eye(CHANNELS), KNOTS, axis=1)
    knots = np.tile(np.arange(KNOTS) / SEGMENTS, CHANNELS)
    return pointwise(picture, kernel) - (scale * knots).astype(np.float32)
