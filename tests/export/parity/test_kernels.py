from __future__ import annotations

from typing import Any

import pytest

from export.kernels.convert import convert, tensorflow
from export.kernels.transfer import TRANSFER_INPUTS, TRANSFER_OUTPUTS
from export.kernels.warp import WARP_INPUTS, WARP_OUTPUTS
from export.parity.kernels import KERNELS
from export.runtimes.difference import ParityError


@pytest.mark.parametrize(("role", "tolerance"), [("warp", 0.51), ("transfer", 0.51), ("key_frame", 1e-5)])
def test_kernel_computes_its_formula(role: str, tolerance: float) -> None:
    kernel = KERNELS[role]
    parity = kernel.check(kernel.build())
    assert parity["max"] <= tolerance
    assert parity["mean"] <= parity["max"]
    assert parity["psnr"] > 55
    assert len(parity["cases"]) >= 17


def test_nearest_sampling_is_distinguished_from_bilinear() -> None:
    tf = tensorflow()

    def nearest(
        atlas: Any,
        flow_x: Any,
        flow_y: Any,
        left: Any,
        right: Any,
        up: Any,
        down: Any,
        index: Any,
        width: Any,
    ) -> Any:
        x = tf.floor(tf.clip_by_value(flow_x, left, right) + 0.5)
        y = tf.floor(tf.clip_by_value(flow_y, up, down) + 0.5)
        step = tf.cast(tf.reshape(y * width + x, [-1]), tf.int32)
        return tf.transpose(tf.gather(atlas, index + step)[:, :3])

    with pytest.raises(ParityError, match=r"Kernel warp differs .* in case half pixels 64x48 on reference"):
        KERNELS["warp"].check(convert(nearest, WARP_INPUTS, WARP_OUTPUTS))


def test_a_missing_bias_is_detected() -> None:
    tf = tensorflow()

    def without_bias(frame: Any, cells: Any, rows: Any, columns: Any, guide: Any, bins: Any) -> Any:
        red, green, blue, _ = tf.split(tf.matmul(tf.matmul(rows, cells), columns), 4, axis=0)
        r, g, b = tf.split(tf.cast(frame, tf.float32), 3, axis=1)
        place = guide[0] * r + guide[1] * g + guide[2] * b
        hats = tf.nn.relu(1.0 - tf.abs(place - bins))
        by_bin = red * r + green * g + blue * b
        return tf.cast(tf.reduce_sum(by_bin * hats, axis=1, keepdims=True), tf.uint8)

    with pytest.raises(ParityError, match=r"Kernel transfer differs .* in case near identity 64x48"):
        KERNELS["transfer"].check(convert(without_bias, TRANSFER_INPUTS, TRANSFER_OUTPUTS))
