"""The exported ONNX files against PyTorch, in ONNX Runtime, on several sizes and upscaling factors.

Both start from the same bytes: a picture with flat areas, gradients, edges, texture and saturated colours,
not noise alone, since statistics of noise say nothing about photos.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from export.kernel_parity import ParityError
from training.stylizer import Stylizer, network_size, resize, style_size

# Height, width, upscaling factor: landscape, portrait, odd, tiny, below and above 1, beyond the pixel budget.
CASES = ((256, 512, 1.0), (480, 270, 1.0), (97, 131, 1.7), (34, 40, 3.0), (300, 401, 0.5), (720, 1280, 1.0))
STYLE_SIZES = ((300, 400), (64, 48))
GREY_TOLERANCE = 1  # grey levels of the stylized frame
CODE_TOLERANCE = 2e-3  # relative to the largest entry of the style code
MAP_TOLERANCE = 2e-2  # of the map's entries; weights travel in half precision

Image = NDArray[np.uint8]


def parity_picture(height: int, width: int, seed: int) -> Image:
    """Return a uint8 height×width×3 picture with the kinds of content a photo has."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    sky = np.stack([0.3 + 0.5 * y / height, 0.5 + 0.3 * x / width, 0.9 - 0.4 * y / height], axis=2)
    texture = 0.15 * np.sin(x / 3.1)[..., None] * np.cos(y / 2.3)[..., None] * rng.random(3)
    picture = sky + texture * (y[..., None] > height / 2)
    for _ in range(12):
        top, left = rng.integers(height), rng.integers(width)
        picture[top : top + height // 4, left : left + width // 5] = rng.random(3)
    noise = rng.normal(0, 0.02, picture.shape)
    grey = 255 * np.clip(picture + noise, 0, 1)
    rounded: Image = grey.round().astype(np.uint8)
    return rounded


def check_style_encoder(path: Path, stylizer: Stylizer) -> dict[str, Any]:
    """Compare ``style_encoder.onnx`` with `Stylizer.encode_style`.

    Returns:
        ``max``: largest difference relative to the largest entry of the code, and the sizes tried.

    Raises:
        ParityError: It exceeds `CODE_TOLERANCE`.
    """
    session = session_of(path)
    worst = 0.0
    for seed, (height, width) in enumerate(STYLE_SIZES):
        picture = parity_picture(height, width, seed)
        (code,) = session.run(None, {"style": picture[None]})
        expected = reference_code(stylizer, picture)
        worst = max(worst, float(np.abs(code - expected).max() / np.abs(expected).max()))
    if not worst <= CODE_TOLERANCE:
        raise ParityError(
            f"style_encoder.onnx differs from PyTorch by {worst:.2g} (allowed {CODE_TOLERANCE})"
        )
    return {"max": worst, "sizes": [list(s) for s in STYLE_SIZES]}


def check_stylizer(path: Path, stylizer: Stylizer) -> dict[str, Any]:
    """Compare ``stylizer.onnx`` with `Stylizer.forward` and `Stylizer.affine_map`.

    Returns:
        ``max`` and ``mean`` difference of the stylized frame in grey levels, ``psnr`` in dB, ``map_max``, and
        ``cases``: the largest difference of each.

    Raises:
        ParityError: A size differs, a frame by more than one grey level, or a map by `MAP_TOLERANCE`.
    """
    session = session_of(path)
    code = reference_code(stylizer, parity_picture(240, 320, seed=9))
    largest: dict[str, float] = {}
    map_worst, total, squares, count = 0.0, 0.0, 0.0, 0
    for seed, (height, width, r) in enumerate(CASES):
        frame = parity_picture(height, width, seed)
        stylized, affine_map = session.run(
            None, {"frame": frame[None], "style_code": code, "r": np.array([r], np.float32)}
        )
        expected, expected_map = reference_frame(stylizer, frame, code, r)
        case = f"{width}x{height} r={r}"
        if stylized.shape != expected.shape or affine_map.shape != expected_map.shape:
            raise ParityError(f"stylizer.onnx at {case} gives {stylized.shape}, PyTorch {expected.shape}")
        difference = np.abs(stylized.astype(np.float64) - expected)
        map_worst = max(map_worst, float(np.abs(affine_map - expected_map).max()))
        largest[case] = float(difference.max())
        if not (largest[case] <= GREY_TOLERANCE and map_worst <= MAP_TOLERANCE):
            raise ParityError(
                f"stylizer.onnx differs from PyTorch at {case} by {largest[case]:.0f} grey levels"
                f" (allowed {GREY_TOLERANCE}), its map by {map_worst:.2g} (allowed {MAP_TOLERANCE})"
            )
        total, squares = total + float(difference.sum()), squares + float(np.square(difference).sum())
        count += difference.size
    psnr = 10 * float(np.log10(255**2 / max(squares / count, 1e-12)))
    return {
        "max": max(largest.values()),
        "mean": total / count,
        "psnr": psnr,
        "map_max": map_worst,
        "cases": largest,
    }


def session_of(path: Path) -> onnxruntime.InferenceSession:
    """Open an ONNX file on the CPU."""
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@torch.no_grad()
def reference_code(stylizer: Stylizer, style: Image) -> NDArray[np.float32]:
    """Return PyTorch's style code (1×K) of a uint8 H×W×3 style image."""
    image = _unit(style)
    height, width, _ = style.shape
    small = resize(image, style_size(height, width, stylizer.dims))
    code: NDArray[np.float32] = stylizer.encode_style(small).numpy()
    return code


@torch.no_grad()
def reference_frame(
    stylizer: Stylizer, frame: Image, code: NDArray[np.float32], r: float
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return PyTorch's stylized frame (1×rH×rW×3, whole grey levels) and affine map (1×gh×gw×12)."""
    image, style_code = _unit(frame), torch.from_numpy(code)
    height, width, _ = frame.shape
    small = resize(image, network_size(height, width, stylizer.dims))
    affine_map = stylizer.affine_map(small, style_code).permute(0, 2, 3, 1).numpy()
    # r crosses the ONNX border as float32: the same number must decide the size here.
    stylized = stylizer(image, style_code, float(np.float32(r)))
    return (stylized * 255).round().permute(0, 2, 3, 1).double().numpy(), affine_map


def _unit(picture: Image) -> torch.Tensor:
    return torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1).unsqueeze(0)
