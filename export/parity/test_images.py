"""Pictures to compare exported files on: the content of photos, and extreme cases of their statistics."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def parity_picture(height: int, width: int, seed: int) -> Image:
    """Return a uint8 height×width×3 picture with gradients, texture, flat areas, edges and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    sky = np.stack([0.3 + 0.5 * y / height, 0.5 + 0.3 * x / width, 0.9 - 0.4 * y / height], axis=2)
    texture = 0.15 * np.sin(x / 3.1)[..., None] * np.cos(y / 2.3)[..., None] * rng.random(3)
    picture = sky + texture * (y[..., None] > height / 2)
    for _ in range(12):
        top, left = rng.integers(height), rng.integers(width)
        picture[top : top + height // 4, left : left + width // 5] = rng.random(3)
    noise = rng.normal(0, 0.02, picture.shape)
    gray = 255 * np.clip(picture + noise, 0, 1)
    rounded: Image = gray.round().astype(np.uint8)
    return rounded


def pictures(height: int, width: int) -> Iterator[tuple[str, Image]]:
    """Yield name and picture of each kind, uint8 height×width×3."""
    photo = parity_picture(height, width, seed=3)
    y, x = np.mgrid[0:height, 0:width]
    yield "photo", photo
    yield "flat", np.full_like(photo, (90, 120, 40))
    yield "checkerboard", np.repeat(255 * ((x // 4 + y // 4) % 2)[..., None], 3, axis=2).astype(np.uint8)
    yield "dark", (photo // 16).astype(np.uint8)
    yield "black", np.zeros_like(photo)
