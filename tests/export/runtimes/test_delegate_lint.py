from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from export.errors import GraphError
from export.kernels.convert import convert, tensorflow
from export.kernels.warp_accel import warp_accel_inputs, warp_accel_outputs
from export.parity.kernels import KERNELS, Kernel, sized_kernels
from export.runtimes.delegate_lint import DelegateFinding, lint, rejections
from mvstylizer.bundle import TensorSpec

WIDTH, HEIGHT = 96, 80
PLANE = (TensorSpec("x", "float32", (1, HEIGHT, WIDTH, 1)),)


def found(content: bytes) -> set[tuple[str, str]]:
    return {(finding.delegate, finding.code) for finding in lint(content)}


@pytest.fixture(scope="module")
def kernels() -> dict[str, Kernel]:
    return {k.role.rpartition("_")[0]: k for k in sized_kernels([(WIDTH, HEIGHT)], lambda *_: (12, 10, 4))}


def test_accelerators_accept_all_of_their_kernels(kernels: dict[str, Kernel]) -> None:
    assert rejections(kernels["warp_accel"].build())["GPU"] == []
    assert rejections(kernels["warp_accel"].build())["HTP"] == []
    assert rejections(kernels["transfer_accel"].build()) == {"XNNPACK": [], "GPU": [], "HTP": []}
    assert rejections(kernels["warp_gpu"].build())["GPU"] == []
    assert rejections(KERNELS["transfer"].build())["XNNPACK"] == []


def test_operators_that_a_delegate_rejects_are_named(kernels: dict[str, Kernel]) -> None:
    assert DelegateFinding("HTP", "operator", "Resampler #0") in lint(kernels["warp_gpu"].build())
    assert any(
        line.startswith("operator at SCATTER_ND") for line in rejections(KERNELS["key_frame"].build())["GPU"]
    )
    assert ("GPU", "dynamic-shape") in found(KERNELS["warp"].build())


def test_absolute_coordinates_in_float_are_unsafe() -> None:
    """The naive warp is correct in float32, but off by pixels on hardware that computes in float16."""
    tf = tensorflow()
    places = np.arange(WIDTH, dtype=np.float32)[None, None, :, None]
    rows = np.arange(HEIGHT, dtype=np.int32)[None, :, None, None]

    def warp(key: Any, flow_x: Any, flow_y: Any) -> Any:
        column = tf.cast(tf.clip_by_value(tf.floor(flow_x + places), 0.0, WIDTH - 1.0), tf.int32)
        row = rows + tf.cast(tf.floor(flow_y), tf.int32)
        picked = tf.gather(key, tf.reshape(row * WIDTH + column, [HEIGHT * WIDTH]))
        return tf.reshape(picked, [1, HEIGHT, WIDTH, 4])

    content = convert(warp, warp_accel_inputs(WIDTH, HEIGHT), warp_accel_outputs(WIDTH, HEIGHT))
    assert found(content) >= {("GPU", "fp16-coordinate"), ("HTP", "fp16-coordinate")}
    kernel = next(sized_kernels([(WIDTH, HEIGHT)], lambda *_: (12, 10, 4)))
    with pytest.raises(GraphError, match="is not suitable for GPU: fp16-coordinate"):
        kernel.check(content)


def test_the_gpus_sampler_is_unsafe_beyond_256() -> None:
    small, large = (
        next(k for k in sized_kernels([size], lambda *_: (1, 1, 1)) if not k.cpu).build()
        for size in ((256, 256), (257, 16))
    )
    assert ("GPU", "fp16-coordinate") not in found(small)
    assert ("GPU", "fp16-coordinate") in found(large)


def test_a_constant_broadcast_over_rank_two_is_unsafe() -> None:
    tf = tensorflow()
    column = np.arange(4, dtype=np.float32)[:, None]
    flat = convert(lambda x: x + column, (TensorSpec("x", "float32", (4, 5)),), PLANE)
    assert ("GPU", "rank-2") in found(flat)
    deep = convert(
        lambda x: x + tf.reshape(column, [1, 4, 1]), (TensorSpec("x", "float32", (1, 4, 5)),), PLANE
    )
    assert ("GPU", "rank-2") not in found(deep)


def test_another_file_format_is_refused() -> None:
    with pytest.raises(GraphError, match="not a TFLite model"):
        lint(b"another format")
