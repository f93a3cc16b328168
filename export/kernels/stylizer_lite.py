"""``style_encoder.tflite`` and ``stylizer_map.tflite``: the lite stylizer for phones.

They compute what `training.stylizer` computes at the network's size, built from TensorFlow functions with the
checkpoint's weights as constants. The converter from ONNX, onnx2tf, supports neither dynamic sizes nor
GridSample's border mode, does not declare its dependencies, and produced kernels several times slower.

    style_encoder.tflite  style uint8 [1, H, W, 3], within the style's budget           → style_code [1, K]
    stylizer_map.tflite   frame uint8 [1, h, w, 3], at the network's size, style_code   → affine_map
                                                                                          [1, h/8, w/8, 12]

The caller reduces pictures to these sizes (`device_runtime.stylizers.resize`). Both files take any size by
resizing their inputs and read no shape at run time, so XNNPACK still runs them after a resize. Consecutive
linear steps are merged: W_s of meta-smoothing and the following 1×1 convolution are one 5×5 convolution.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

import numpy as np
from training.grading import PARAMETERS
from training.lite import LITE_CHANNELS

from export.kernels.convert import convert, tensorflow
from export.kernels.lite_color import (
    CHANNELS,
    LiteGrade,
    apply_grade,
    as_grade,
    style_color,
    tones,
    transport,
)
from export.kernels.lite_colorization import Moments, channel_moments, colorize, differences
from export.kernels.lite_contract import lite_contract
from export.kernels.lite_fit import extended, fit_map
from export.runtimes.difference import Array
from training.options import StylizerDims
from training.stylizer import COLOR_CODE, GRADING_SHRINK, TONE_CODE

Weights = Mapping[str, Array]

STYLE_CODE: Final = COLOR_CODE + TONE_CODE + 2 * sum(LITE_CHANNELS)


class LiteGraph:
    """The lite stylizer as functions of TensorFlow tensors (NHWC float32, unit range).

    Args:
        weights: Weights of the checkpoint, with PyTorch's names and layouts.
        dims: Dimensions of the stylizer.
    """

    def __init__(self, weights: Weights, dims: StylizerDims) -> None:
        self._weights, self._dims, self._tf = weights, dims, tensorflow()

    def encode_style(self, style: Any) -> Any:
        """Return the style code, 1×K, of a picture 1×H×W×3; see `training.stylizer`."""
        mean, root = style_color(style)
        root = self._tf.reshape(root, [1, CHANNELS * CHANNELS])
        # In steps: XNNPACK concatenates at most five tensors.
        color = self._tf.concat([mean, root, tones(style)], axis=1)
        levels = [self._tf.concat(channel_moments(features), axis=1) for features in self._encode(style)]
        return self._tf.concat([color, *levels], axis=1)

    def affine_map(self, content: Any, style_code: Any) -> Any:
        """Return the affine map, 1×h/cell×w/cell×12, of a picture 1×h×w×3 at the network's size."""
        grade = self._grade(content, style_code)
        graded = apply_grade(grade, content)
        features = self._encode(_clamped(graded))
        pairs = zip(features, self._moments(style_code), strict=True)
        colorized = [colorize(each, style, self._dims.colorization) for each, style in pairs]
        smooth = self._smooth(graded + self._decode(features, colorized))
        return fit_map(content, smooth, grade, self._dims.map_cell, self._dims.ridge)

    def _grade(self, content: Any, style_code: Any) -> LiteGrade:
        tf = self._tf
        root = tf.reshape(style_code[:, CHANNELS:COLOR_CODE], [1, CHANNELS, CHANNELS])
        gain, shift = transport(content, style_code[:, :CHANNELS], root)
        known = [tf.reshape(gain, [1, CHANNELS * CHANNELS]), shift]
        style_tones = style_code[:, COLOR_CODE : COLOR_CODE + TONE_CODE]
        style = _joined(self._moments(style_code))
        small = tf.nn.avg_pool2d(content, GRADING_SHRINK, GRADING_SHRINK, "VALID")
        numbers = tf.zeros([1, PARAMETERS])
        for k in range(self._dims.grading_rounds):
            picture = _clamped(apply_grade(as_grade(numbers, gain, shift), small))
            seen = _joined([channel_moments(features) for features in self._encode(picture)])
            spread = tones(picture)
            seen_facts = tf.concat([*differences(seen, style), spread - style_tones, style_tones], axis=1)
            numbers = numbers + self._correction(tf.concat([seen_facts, *known, numbers], axis=1), k)
        return as_grade(numbers, gain, shift)

    def _correction(self, facts: Any, k: int) -> Any:
        """Return the change of the grade's parameters in round k of the grading, 1×37."""
        tf, weights = self._tf, self._weights
        compare = weights["grading.compare.weight"][:, _facts_order()].T
        bias = weights["grading.compare.bias"] + weights["grading.round_bias"][k]
        hidden = tf.nn.relu(tf.matmul(facts, compare) + bias)
        hidden = hidden + tf.nn.relu(self._linear("grading.think", hidden))
        return self._linear("grading.correct", hidden)

    def _encode(self, picture: Any) -> list[Any]:
        """Return the features of `training.lite.LiteEncoder`, shallow to deep."""
        found = [self._conv("encoder.level1", 4.0 * (picture - 0.45), relu=True)]
        for level in ("level2", "level3"):
            halved = self._conv(f"encoder.{level}", found[-1], stride=2, relu=True)
            found.append(self._conv(f"encoder.{level}_more", halved, relu=True))
        return found

    def _decode(self, content: list[Any], colorized: list[Any]) -> Any:
        """Return the correction of `training.decoder.Decoder`, 1×h×w×3."""
        deep = self._tf.concat([colorized[2], content[2]], axis=3)
        x = self._doubled(self._conv("decoder.up3", deep, relu=True))
        x = self._conv("decoder.mid2", x + colorized[1] - content[1], relu=True)
        x = self._doubled(self._conv("decoder.up2", x, relu=True))
        x = self._conv("decoder.mid1", x + colorized[0] - content[0], relu=True)
        return self._conv("decoder.rgb", x)

    def _smooth(self, picture: Any) -> Any:
        """Return `training.smoothing.MetaSmoothing` of a picture at r = 1."""
        weights = self._weights
        smoothing = np.einsum(
            "om,mihw->oihw", weights["smoothing.to_rgb"][:, :, 0, 0], weights["smoothing.smoothing"]
        )
        for kernel in (weights["smoothing.upscaling"], smoothing):
            picture = self._tf.nn.conv2d(extended(picture, kernel.shape[2] // 2), _hwio(kernel), 1, "VALID")
        return picture

    def _conv(self, name: str, x: Any, *, stride: int = 1, relu: bool = False) -> Any:
        tf = self._tf
        if stride > 1:  # PyTorch pads both sides, "SAME" only one
            x = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
        kernel = _hwio(self._weights[f"{name}.weight"])
        x = tf.nn.conv2d(x, kernel, stride, "SAME" if stride == 1 else "VALID")
        x = tf.nn.bias_add(x, self._weights[f"{name}.bias"])
        return tf.nn.relu(x) if relu else x

    def _linear(self, name: str, x: Any) -> Any:
        return self._tf.matmul(x, self._weights[f"{name}.weight"].T) + self._weights[f"{name}.bias"]

    def _doubled(self, x: Any) -> Any:
        """Upsample by two, nearest neighbor; a resize would need the size."""
        return self._tf.nn.depth_to_space(self._tf.concat([x] * 4, axis=3), 2)

    def _moments(self, style_code: Any) -> list[Moments]:
        ends = np.cumsum([COLOR_CODE + TONE_CODE, *np.repeat(LITE_CHANNELS, 2)])
        parts = [style_code[:, start:end] for start, end in pairwise(ends)]
        return [Moments(*pair) for pair in zip(parts[0::2], parts[1::2], strict=True)]


def build_style_encoder(weights: Weights, dims: StylizerDims, *, half: bool = True) -> bytes:
    """Build ``style_encoder.tflite`` and return its content.

    Args:
        weights: Weights of a lite stylizer; see `LiteGraph`.
        dims: Dimensions of the stylizer; its colorization is one of `lite_colorization.MODES`.
        half: Store the weights in half precision; arithmetic is single precision either way.

    Raises:
        KernelBuildError: The converter wrote an operator that phones lack.
        MissingExtraError: TensorFlow is not installed.
    """
    graph = LiteGraph(weights, dims)
    inputs, outputs = lite_contract("style_encoder_tflite", STYLE_CODE)
    return convert(lambda style: graph.encode_style(_unit(style)), inputs, outputs, half=half)


def build_stylizer_map(weights: Weights, dims: StylizerDims, *, half: bool = True) -> bytes:
    """Build ``stylizer_map.tflite``; see `build_style_encoder`."""
    graph = LiteGraph(weights, dims)
    inputs, outputs = lite_contract("stylizer_map_tflite", STYLE_CODE)

    def stylizer_map(frame: Any, style_code: Any) -> Any:
        return graph.affine_map(_unit(frame), style_code)

    return convert(stylizer_map, inputs, outputs, half=half)


def _unit(picture: Any) -> Any:
    tf = tensorflow()
    return tf.cast(picture, tf.float32) * (1 / 255)


def _clamped(picture: Any) -> Any:
    tf = tensorflow()
    return tf.minimum(tf.nn.relu(picture), 1.0)


def _joined(levels: list[Moments]) -> Moments:
    tf = tensorflow()
    return Moments(*(tf.concat(parts, axis=1) for parts in zip(*levels, strict=True)))


def _hwio(kernel: Array) -> Array:
    return np.ascontiguousarray(kernel.transpose(2, 3, 1, 0), np.float32)


def _facts_order() -> list[int]:
    """Return each fact's index in the checkpoint, which orders them by level and the transport by row."""
    starts = np.cumsum([0, *(2 * channels for channels in LITE_CHANNELS)])
    pairs = list(zip(starts, LITE_CHANNELS, strict=False))
    apart = [index for start, channels in pairs for index in range(start, start + channels)]
    ratio = [index for start, channels in pairs for index in range(start + channels, start + 2 * channels)]
    color = starts[-1] + 2 * TONE_CODE
    gain = [color + 4 * row + column for row in range(CHANNELS) for column in range(CHANNELS)]
    shift = [color + 4 * row + CHANNELS for row in range(CHANNELS)]
    rest = range(color + COLOR_CODE, color + COLOR_CODE + PARAMETERS)
    return [*apart, *ratio, *range(starts[-1], color), *gain, *shift, *rest]
