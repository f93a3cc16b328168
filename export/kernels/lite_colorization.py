"""Colorization (`training.colorization`, paper Eq. 2) as TensorFlow functions, for TFLite.

Features are 1×h×w×C float32.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from export.kernels.convert import tensorflow
from export.kernels.lite_color import spatial_mean
from training.colorization import EPS
from training.options import ColorizationMode

MODES: tuple[ColorizationMode, ...] = ("mean", "residual", "moment")
"""Supported modes: `literal` needs the number of positions, `attention` a sequence of them."""


class Moments(NamedTuple):
    """Statistics of features over their positions.

    Attributes:
        mean: 1×C.
        deviation: 1×C.
    """

    mean: Any
    deviation: Any


def channel_moments(features: Any) -> Moments:
    """Return mean and standard deviation of the channels; see `training.colorization`."""
    tf = tensorflow()
    mean = spatial_mean(features)
    variance = spatial_mean(tf.square(features)) - tf.square(mean)
    return Moments(mean, tf.sqrt(tf.nn.relu(variance) + EPS**2))


def colorize(features: Any, style: Moments, mode: ColorizationMode) -> Any:
    """Colorize features with a style's moments; see `training.colorization`."""
    if mode == "mean":
        return style.mean[:, None, None] - features
    seen = channel_moments(features)
    if mode == "residual":
        return features + (style.mean - seen.mean)[:, None, None]
    gain = style.deviation / (seen.deviation + EPS)
    return features * gain[:, None, None] + (style.mean - gain * seen.mean)[:, None, None]


def differences(seen: Moments, style: Moments) -> list[Any]:
    """Return dimensionless differences of statistics, two of 1×C; see `training.grading`."""
    tf = tensorflow()
    apart = (style.mean - seen.mean) / (style.deviation + seen.deviation + 0.05)
    ratio = tf.math.log((style.deviation + 0.02) / (seen.deviation + 0.02))
    return [tf.minimum(tf.maximum(each, -3.0), 3.0) for each in (apart, ratio)]
