"""Inputs that reach the corners of each TFLite kernel, with the results of its formula in float64 NumPy.

The formulas are written here a second time, from their words and not from the builders in `export.kernels`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from export.kernels.key_frame import BINS, EDGE_LEVEL, HEIGHT, WIDTH

Array = NDArray[Any]


class Case(NamedTuple):
    """One run of a kernel.

    Attributes:
        name: What is special about it.
        inputs: Tensors by name; the kernel's inputs are resized to their shapes.
        expected: All outputs in order, flattened, real-valued (not rounded), float64.
    """

    name: str
    inputs: dict[str, Array]
    expected: Array


def warp_cases() -> Iterator[Case]:
    """Yield zero, integer, half-pixel, smooth, border-crossing and far flows on noise and a checkerboard."""
    rng = np.random.default_rng(1)
    for height, width in ((48, 64), (27, 41), (1, 9), (7, 1)):
        noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        for name, flow in _flows(height, width, rng).items():
            yield _warp_case(f"{name} {width}x{height}", noise, flow.astype(np.float32))
    rows, columns = np.indices((48, 64))
    checkerboard = np.repeat((255 * ((rows + columns) % 2)).astype(np.uint8)[..., None], 3, axis=2)
    for name, flow in _flows(48, 64, rng).items():
        yield _warp_case(f"{name}, checkerboard", checkerboard, flow.astype(np.float32))


def _flows(height: int, width: int, rng: np.random.Generator) -> dict[str, Array]:
    rows, columns = np.indices((height, width))
    smooth = np.stack([8 * np.sin(rows / 9 + columns / 17), 8 * np.cos(columns / 13)], axis=-1)
    noise = rng.uniform(-1, 1, (height, width, 2))
    return {
        "zero": np.zeros((height, width, 2)),
        "integer": np.rint(5 * noise),
        "half pixels": np.rint(5 * noise) + 0.5,
        "smooth, up to 8": smooth,
        "across the border": noise * (width, height),
        "far out of the frame": np.sign(noise) * 1e6,
        "huge": noise * np.finfo(np.float32).max,
    }


def _warp_case(name: str, key: Array, flow: Array) -> Case:
    height, width = key.shape[:2]
    rows, columns = np.indices((height, width))
    y = np.clip(rows + flow[..., 1].astype(np.float64), 0, height - 1)
    x = np.clip(columns + flow[..., 0].astype(np.float64), 0, width - 1)
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    below, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    down, across = (y - top)[..., None], (x - left)[..., None]
    upper = key[top, left] * (1 - across) + key[top, right] * across
    lower = key[below, left] * (1 - across) + key[below, right] * across
    expected = (upper * (1 - down) + lower * down).transpose(2, 0, 1)

    next_row, next_column = np.minimum(rows + 1, height - 1), np.minimum(columns + 1, width - 1)
    corners = (key, key[rows, next_column], key[next_row, columns], key[next_row, next_column])
    x, y = np.arange(width), np.arange(height, dtype=np.int32)
    inputs = {
        "atlas": np.concatenate(corners, axis=2).reshape(-1, 12),
        "flow_x": flow[None, ..., :1],
        "flow_y": flow[None, ..., 1:],
        "left": (-x[None, None, :, None]).astype(np.float32),
        "right": (width - 1 - x[None, None, :, None]).astype(np.float32),
        "up": -y[None, :, None, None],
        "down": height - 1 - y[None, :, None, None],
        "offset": np.arange(height * width, dtype=np.int32),
        "width": np.array([width], np.int32),
        "top": np.zeros(1, np.int32),
    }
    return Case(name, inputs, expected.ravel())


def transfer_cases() -> Iterator[Case]:
    """Yield identity, mild, random and saturating maps over even, odd and tiny sizes, and 1080p once."""
    rng = np.random.default_rng(2)
    identity = np.eye(3, 4, dtype=np.float32)
    sizes = (((48, 64), (6, 8)), ((273, 641), (9, 20)), ((5, 3), (7, 9)), ((40, 1), (1, 1)))
    for (height, width), grid in sizes:
        frame = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        noise = rng.normal(0, 1, (*grid, 3, 4)).astype(np.float32)
        size = f"{width}x{height}"
        yield _transfer_case(f"identity {size}", frame, np.broadcast_to(identity, noise.shape))
        yield _transfer_case(f"near identity {size}", frame, identity + noise / 8)
        yield _transfer_case(f"random {size}", frame, noise)
        yield _transfer_case(f"saturated {size}", frame, 100 * noise)
    frame = rng.integers(0, 256, (1080, 1920, 3), dtype=np.uint8)
    noise = rng.normal(0, 0.1, (36, 64, 3, 4)).astype(np.float32)
    yield _transfer_case("near identity 1920x1080", frame, identity + noise)


def _transfer_case(name: str, frame: Array, cells: Array) -> Case:
    rows, columns = _tent(frame.shape[0], cells.shape[0]), _tent(frame.shape[1], cells.shape[1])
    by_row = np.tensordot(rows, cells.astype(np.float64), axes=1)
    expected = np.empty(frame.shape)
    for y, line in enumerate(frame.astype(np.float64)):
        matrix = np.tensordot(columns, by_row[y], axes=1)
        expected[y] = np.einsum("xck,xk->xc", matrix[..., :3], line) + 255 * matrix[..., 3]
    inputs = {
        "frame": frame.transpose(2, 0, 1)[None],
        "cells": np.ascontiguousarray(cells.transpose(3, 2, 0, 1)),
        "rows": rows.astype(np.float32)[None, None],
        "columns": np.ascontiguousarray(columns.T).astype(np.float32)[None, None],
    }
    return Case(name, inputs, np.clip(expected, 0, 255).transpose(2, 0, 1).ravel())


def _tent(pixels: int, cells: int) -> Array:
    """Bilinear weights (pixels, cells); `numpy.interp` clamps outside the outer cell centres by itself."""
    centres = (np.arange(pixels) + 0.5) * cells / pixels - 0.5
    return np.stack([np.interp(centres, np.arange(cells), unit) for unit in np.eye(cells)], axis=1)


def key_frame_cases() -> Iterator[Case]:
    """Yield equal, shifted, appearing and vanishing content around threshold and largest gap."""
    rng = np.random.default_rng(3)
    rows, columns = np.indices((HEIGHT, WIDTH))
    flat = np.full((HEIGHT, WIDTH), 90, np.uint8)
    noise = rng.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
    bars = np.where(columns // 8 % 2, 220, 30).astype(np.uint8)
    ramp = (rows + columns).astype(np.uint8)
    pairs: dict[str, tuple[Array, Array]] = {
        "same": (bars, bars),
        "flat": (flat, flat),
        "black to white": (np.zeros_like(flat), np.full_like(flat, 255)),
        "noise": (noise, noise[::-1]),
        "shift by one": (np.roll(bars, 1, axis=1), bars),
        "shift by three": (np.roll(bars, 3, axis=1), bars),
        "edges appear": (bars, ramp),
        "edges vanish": (ramp, bars),
    }
    weights = np.array([0.5, 0.3, 0.2], np.float32)
    for name, (cur, key) in pairs.items():
        for threshold, gap in ((0.05, 3), (0.95, 3), (2.0, 12)):
            title = f"{name}, threshold {threshold}, gap {gap}"
            yield _key_frame_case(title, cur, key, threshold, weights, gap)


def _key_frame_case(name: str, cur: Array, key: Array, threshold: float, weights: Array, gap: int) -> Case:
    a, b = cur.astype(np.float64), key.astype(np.float64)
    bins = [np.histogram(image, BINS, (0, 256))[0] / image.size for image in (a, b)]
    features = [np.mean(np.abs(a - b)) / 255, np.abs(bins[0] - bins[1]).sum() / 2, _edge_change(a, b)]
    score = float(np.dot(weights, features))
    inputs = {
        "cur": cur,
        "key": key,
        "threshold": np.array([threshold], np.float32),
        "weights": weights,
        "gap": np.array([gap], np.int32),
        "max_gap": np.array([12], np.int32),
    }
    due = score >= threshold or gap >= 12
    return Case(name, inputs, np.array([due, score, *features], np.float64))


def _edge_change(a: Array, b: Array) -> float:
    def edges(image: Array) -> Array:
        across = np.abs(image[1:-1, 2:] - image[1:-1, :-2])
        return np.asarray(across + np.abs(image[2:, 1:-1] - image[:-2, 1:-1]) > EDGE_LEVEL)

    def without_near(own: Array, other: Array) -> float:
        padded = np.pad(other, 1)
        height, width = other.shape
        near = np.any([padded[y : y + height, x : x + width] for y in range(3) for x in range(3)], axis=0)
        return float(np.sum(own & ~near) / max(np.sum(own), 1))

    return max(without_near(edges(a), edges(b)), without_near(edges(b), edges(a)))
