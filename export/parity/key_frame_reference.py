"""Reference of ``key_frame.tflite``: its formula in float64 NumPy, and inputs around its thresholds.

Written from the description, not from the builder in `export.kernels`; see `export.parity.warp_reference`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from export.kernels.key_frame import BINS, EDGE_LEVEL, HEIGHT, WIDTH
from export.runtimes.difference import Array, Case


def key_frame_cases() -> Iterator[Case]:
    """Yield equal, shifted, appearing and vanishing content, around the threshold and the largest gap."""
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
