"""Reference of every build of the warp: its formula in float64 NumPy, and inputs for its corner cases.

The formula is written a second time, from the description and not from the builders in `export.kernels`. One
problem (a key frame and a backward flow) becomes a case of each build by `strip_case`, `accel_case` and
`gpu_case`: the same numbers in that build's layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from export.runtimes.difference import Array, Case


class WarpProblem(NamedTuple):
    """A key frame, uint8 (H, W, 3), and a backward flow, float32 (H, W, 2) in pixels."""

    name: str
    key: Array
    flow: Array


def warp_problems() -> Iterator[WarpProblem]:
    """Yield all flows on noise at even, odd and tiny sizes, and on a checkerboard."""
    rng = np.random.default_rng(1)
    for height, width in ((48, 64), (27, 41), (1, 9), (7, 1)):
        noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        for name, flow in _flows(height, width, rng).items():
            yield WarpProblem(f"{name} {width}x{height}", noise, flow)
    yield from checkerboard_problems(64, 48)


def checkerboard_problems(width: int, height: int) -> Iterator[WarpProblem]:
    """Yield all flows on a checkerboard of one size: any wrong position changes the gray level."""
    rng = np.random.default_rng(2)
    rows, columns = np.indices((height, width))
    board = np.repeat((255 * ((rows + columns) % 2)).astype(np.uint8)[..., None], 3, axis=2)
    for name, flow in _flows(height, width, rng).items():
        yield WarpProblem(f"{name}, checkerboard {width}x{height}", board, flow)


def noise_problem(width: int, height: int) -> WarpProblem:
    """Return noise under a smooth flow with a hard edge and parts that cross the border."""
    rng = np.random.default_rng(3)
    flow = _flows(height, width, rng)["smooth, up to 8"]
    flow[height // 3 :, width // 2 :] += (-3.5, 2.25)
    return WarpProblem(f"smooth {width}x{height}", rng.integers(0, 256, (height, width, 3), np.uint8), flow)


def _flows(height: int, width: int, rng: np.random.Generator) -> dict[str, Array]:
    rows, columns = np.indices((height, width))
    smooth = np.stack([8 * np.sin(rows / 9 + columns / 17), 8 * np.cos(columns / 13)], axis=-1)
    noise = rng.uniform(-1, 1, (height, width, 2))
    flows = {
        "zero": np.zeros((height, width, 2)),
        "integer": np.rint(5 * noise),
        "half pixels": np.rint(5 * noise) + 0.5,
        "smooth, up to 8": smooth,
        "across the border": noise * (width, height),
        "far out of the frame": np.sign(noise) * 1e6,
        "huge": noise * np.finfo(np.float32).max,
    }
    return {name: flow.astype(np.float32) for name, flow in flows.items()}


def warped(problem: WarpProblem) -> Array:
    """Return the key frame's colors at the positions that the flow points to, float64 (H, W, 3)."""
    key = problem.key
    height, width = key.shape[:2]
    x, y = _positions(problem)
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    below, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    down, across = (y - top)[..., None], (x - left)[..., None]
    upper = key[top, left] * (1 - across) + key[top, right] * across
    lower = key[below, left] * (1 - across) + key[below, right] * across
    blended: Array = upper * (1 - down) + lower * down
    return blended


def _positions(problem: WarpProblem) -> tuple[Array, Array]:
    height, width = problem.key.shape[:2]
    rows, columns = np.indices((height, width))
    x = np.clip(columns + problem.flow[..., 0].astype(np.float64), 0, width - 1)
    return x, np.clip(rows + problem.flow[..., 1].astype(np.float64), 0, height - 1)


def strip_case(problem: WarpProblem) -> Case:
    """Return the problem as a case of ``warp.tflite``, the whole frame as one strip."""
    name, key, flow = problem
    height, width = key.shape[:2]
    rows, columns = np.indices((height, width))
    next_row, next_column = np.minimum(rows + 1, height - 1), np.minimum(columns + 1, width - 1)
    corners = (key, key[rows, next_column], key[next_row, columns], key[next_row, next_column])
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    inputs = {
        "atlas": np.concatenate(corners, axis=2).reshape(-1, 12),
        "flow_x": flow[None, ..., :1],
        "flow_y": flow[None, ..., 1:],
        "left": -x[None, None, :, None],
        "right": width - 1 - x[None, None, :, None],
        "up": -y[None, :, None, None],
        "down": height - 1 - y[None, :, None, None],
        "index": np.arange(height * width, dtype=np.int32),
        "width": np.array([width], np.float32),
    }
    return Case(name, inputs, warped(problem).transpose(2, 0, 1).ravel())


def accel_case(problem: WarpProblem) -> Case:
    """Return the problem as a case of ``warp_accel_WxH.tflite``; X and the added rows are 0."""
    name, key, flow = problem
    height, width = key.shape[:2]
    table = np.zeros((height * width + width + 1, 4), np.float32)
    table[: height * width, :3] = key.reshape(-1, 3)
    inputs = {
        "key": table,
        "flow_x": np.ascontiguousarray(flow[None, ..., :1]),
        "flow_y": np.ascontiguousarray(flow[None, ..., 1:]),
    }
    return Case(name, inputs, np.pad(warped(problem), ((0, 0), (0, 0), (0, 1))).ravel())


def gpu_case(problem: WarpProblem) -> Case:
    """Return the problem as a case of ``warp_gpu_WxH.tflite``, positions clamped to the frame."""
    place = np.stack(_positions(problem), axis=-1).astype(np.float32)
    inputs = {"key": problem.key[None].astype(np.float32), "place": place[None]}
    return Case(problem.name, inputs, warped(problem).ravel())
