"""Compare the exported ONNX files with PyTorch, in ONNX Runtime, at several sizes and upscaling factors.

The pictures have flat areas, gradients, edges, texture and saturated colors: statistics of noise alone say
nothing about photos.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from export.parity.reference import Reference
from export.parity.test_images import Image, parity_picture
from export.runtimes.difference import Differences, Tolerance

# Height, width, upscaling factor: landscape, portrait, odd, tiny, below and above 1, beyond the pixel budget.
FRAMES = ((256, 512, 1.0), (480, 270, 1.0), (97, 131, 1.7), (34, 40, 3.0), (300, 401, 0.5), (400, 640, 1.0))
STYLE_SIZES = ((300, 400), (64, 48))
LANE = "ONNX Runtime"


def check_style_encoder(path: Path, reference: Reference) -> dict[str, Any]:
    """Compare ``style_encoder.onnx`` with the reference.

    Returns:
        The manifest's parity row (`Differences.summary`), relative to the largest entry of the code.

    Raises:
        ParityError: It differs by more than `Tolerance.CODE`.
    """
    session = session_of(path)
    differences = Differences(path.name, Tolerance.CODE, 1.0)
    for seed, (height, width) in enumerate(STYLE_SIZES):
        picture = parity_picture(height, width, seed)
        (code,) = session.run(None, {"style": picture[None]})
        expected = reference.style_code(picture)
        scale = np.abs(expected).max()
        differences.add(f"{width}x{height}", LANE, code / scale, expected / scale)
    return differences.summary()


def check_stylizer(path: Path, reference: Reference, exact: bool = True) -> dict[str, Any]:
    """Compare the stylized frames and the maps of ``stylizer.onnx`` with the reference.

    Args:
        path: The file.
        reference: PyTorch's outputs.
        exact: False records differences of any size, for a quantized file.

    Returns:
        The manifest's parity row, in gray levels of the stylized frame, and ``map_max``, the largest
        difference of a map's entries.

    Raises:
        ParityError: A frame differs by more than `Tolerance.GRAY`, or a map by more than `Tolerance.MAP`.
    """
    session = session_of(path)
    code = _style_code(reference)
    frames = Differences(path.name, Tolerance.GRAY if exact else math.inf, 255.0, " gray levels")
    maps = Differences(f"The map of {path.name}", Tolerance.MAP if exact else math.inf, 1.0)
    for frame, r in _frames():
        inputs = {"frame": frame[None], "style_code": code, "r": np.array([r], np.float32)}
        stylized, grid = session.run(None, inputs)
        case = f"{frame.shape[1]}x{frame.shape[0]} r={r}"
        frames.add(case, LANE, stylized, reference.stylized(frame, code, r))
        maps.add(case, LANE, grid, reference.grid(frame, code))
    return {**frames.summary(), "map_max": maps.summary()["max"]}


def check_stylizer_map(path: Path, reference: Reference, exact: bool = True) -> dict[str, Any]:
    """Compare ``stylizer_map.onnx`` with the reference; see `check_stylizer`.

    Returns:
        The manifest's parity row, of the map's entries (unit range).

    Raises:
        ParityError: A map differs by more than `Tolerance.MAP`.
    """
    session = session_of(path)
    code = _style_code(reference)
    differences = Differences(path.name, Tolerance.MAP if exact else math.inf, 1.0)
    for frame, _ in _frames():
        (grid,) = session.run(None, {"frame": frame[None], "style_code": code})
        case = f"{frame.shape[1]}x{frame.shape[0]}"
        differences.add(case, LANE, grid, reference.grid(frame, code))
    return differences.summary()


def session_of(path: Path) -> onnxruntime.InferenceSession:
    """Open an ONNX file on the CPU."""
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def _style_code(reference: Reference) -> Any:
    return reference.style_code(parity_picture(240, 320, seed=9))


def _frames() -> Iterator[tuple[Image, float]]:
    for seed, (height, width, r) in enumerate(FRAMES):
        yield parity_picture(height, width, seed), r
