"""``key_frame.tflite``: decide whether the content has changed enough for a new key frame.

Three features of luma thumbnails of 90×160, each in 0..1:

- difference: mean of |current - key| / 255;
- histogram: half the sum, over 64 bins of 4 levels, of the absolute difference of both histograms' shares;
- edges: an edge pixel has |right - left| + |below - above| > 48. The entering share is the part of the
  current frame's edge pixels that have no edge of the key frame within one pixel, the exiting share is the
  reverse, and the feature is the larger of the two (0 without edges).

score = weights · features. A key frame is due when score ≥ threshold, or when gap ≥ max_gap, where the gap
is the number of frames since the last key frame. Threshold and weights are inputs, so tuning them needs no
new file.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from export.kernels.convert import convert, tensorflow
from mvstylizer.bundle import TensorSpec

HEIGHT, WIDTH = 90, 160
BINS = 64
EDGE_LEVEL = 48.0

KEY_FRAME_INPUTS = (
    TensorSpec("cur", "uint8", (HEIGHT, WIDTH), "HW luma", "0..255"),
    TensorSpec("key", "uint8", (HEIGHT, WIDTH), "HW luma", "0..255"),
    TensorSpec("threshold", "float32", (1,), "one number", "any"),
    TensorSpec("weights", "float32", (3,), "difference, histogram, edges", "any"),
    TensorSpec("gap", "int32", (1,), "one number", "frames since the last key frame"),
    TensorSpec("max_gap", "int32", (1,), "one number", "frames"),
)
KEY_FRAME_OUTPUTS = (
    TensorSpec("is_key", "int32", (1,), "one number", "0 or 1"),
    TensorSpec("score", "float32", (1,), "one number", "weights · features"),
    TensorSpec("features", "float32", (3,), "difference, histogram, edges", "0..1"),
)


def build_key_frame() -> bytes:
    """Build ``key_frame.tflite`` and return its content.

    Raises:
        KernelBuildError: The converter wrote an operator that phones lack.
        MissingExtraError: TensorFlow is not installed.
    """
    tf = tensorflow()
    pixels = HEIGHT * WIDTH
    # One scatter computes the difference of both histograms: +1 for a current pixel, -1 for the key frame's.
    signs = np.repeat(np.array([1.0, -1.0], np.float32), pixels)

    def histogram(pair: Any) -> Any:
        bins = tf.cast(tf.floor(tf.reshape(pair, [2 * pixels, 1]) * (BINS / 256.0)), tf.int32)
        return tf.reduce_sum(tf.abs(tf.scatter_nd(bins, tf.constant(signs), [BINS]))) * (0.5 / pixels)

    def edge_change(pair: Any) -> Any:
        across = tf.abs(pair[:, 1:-1, 2:] - pair[:, 1:-1, :-2])
        along = tf.abs(pair[:, 2:, 1:-1] - pair[:, :-2, 1:-1])
        # Gray levels are whole numbers, so this is 1 above the threshold and 0 up to it.
        edges = tf.minimum(tf.nn.relu(across + along - EDGE_LEVEL), 1.0)
        near = tf.nn.max_pool2d(edges[..., None], 3, 1, "SAME")[..., 0]
        shares = []
        for own, other in ((0, 1), (1, 0)):
            count = tf.reduce_sum(edges[own])
            unmatched = count - tf.reduce_sum(edges[own] * near[other])
            shares.append(unmatched / tf.maximum(count, 1.0))
        return tf.maximum(shares[0], shares[1])

    def key_frame(cur: Any, key: Any, threshold: Any, weights: Any, gap: Any, max_gap: Any) -> Any:
        pair = tf.stack([tf.cast(cur, tf.float32), tf.cast(key, tf.float32)])
        difference = tf.reduce_mean(tf.abs(pair[0] - pair[1])) * (1.0 / 255.0)
        features = tf.stack([difference, histogram(pair), edge_change(pair)])
        score = tf.reduce_sum(weights * features, keepdims=True)
        due = tf.logical_or(score >= threshold, gap >= max_gap)
        return tf.cast(due, tf.int32), score, features

    return convert(key_frame, KEY_FRAME_INPUTS, KEY_FRAME_OUTPUTS)
