"""The exported ONNX files against PyTorch, in ONNX Runtime, on several sizes and upscaling factors.

Both start from the same bytes: a picture with flat areas, gradients, edges, texture and saturated colors,
not noise alone, since statistics of noise say nothing about photos.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from export.parity.test_images import Image, parity_picture
from export.runtimes import tolerance
from export.runtimes.difference import Differences
from training.stylizer import StylizerNetwork, network_size, resize, style_size

# Height, width, upscaling factor: landscape, portrait, odd, tiny, below and above 1, beyond the pixel budget.
CASES = ((256, 512, 1.0), (480, 270, 1.0), (97, 131, 1.7), (34, 40, 3.0), (300, 401, 0.5), (400, 640, 1.0))
MAP_SIZES = ((256, 512), (97, 131), (34, 40))
STYLE_SIZES = ((300, 400), (64, 48))
LANE = "ONNX Runtime"


def check_style_encoder(path: Path, stylizer: StylizerNetwork) -> dict[str, Any]:
    """Compare ``style_encoder.onnx`` with `StylizerNetwork.encode_style`.

    Returns:
        The manifest's parity row (`Differences.summary`), relative to the largest entry of the code.

    Raises:
        ParityError: It differs by more than `tolerance.CODE`.
    """
    session = session_of(path)
    differences = Differences(path.name, tolerance.CODE, 1.0)
    for seed, (height, width) in enumerate(STYLE_SIZES):
        picture = parity_picture(height, width, seed)
        (code,) = session.run(None, {"style": picture[None]})
        expected = reference_code(stylizer, picture)
        scale = np.abs(expected).max()
        differences.add(f"{width}x{height}", LANE, code / scale, expected / scale)
    return differences.summary()


def check_stylizer(path: Path, stylizer: StylizerNetwork) -> dict[str, Any]:
    """Compare ``stylizer.onnx`` with `StylizerNetwork.forward` and `StylizerNetwork.affine_map`.

    Returns:
        The manifest's parity row, in gray levels of the stylized frame, and ``map_max`` of the map's entries.

    Raises:
        ParityError: A size differs, a frame by more than one gray level, or a map by `tolerance.MAP`.
    """
    session = session_of(path)
    code = reference_code(stylizer, parity_picture(240, 320, seed=9))
    frames = Differences(path.name, tolerance.GRAY, 255.0, " gray levels")
    maps = Differences(f"The map of {path.name}", tolerance.MAP, 1.0)
    for seed, (height, width, r) in enumerate(CASES):
        frame = parity_picture(height, width, seed)
        stylized, affine_map = session.run(
            None, {"frame": frame[None], "style_code": code, "r": np.array([r], np.float32)}
        )
        case = f"{width}x{height} r={r}"
        frames.add(case, LANE, stylized, reference_frame(stylizer, frame, code, r))
        maps.add(case, LANE, affine_map, reference_map(stylizer, frame, code))
    return {**frames.summary(), "map_max": maps.summary()["max"]}


def check_stylizer_map(path: Path, stylizer: StylizerNetwork) -> dict[str, Any]:
    """Compare ``stylizer_map.onnx`` with `StylizerNetwork.affine_map`.

    Returns:
        The manifest's parity row, of the map's entries (unit range).

    Raises:
        ParityError: A grid differs, or an entry by more than `tolerance.MAP`.
    """
    session = session_of(path)
    code = reference_code(stylizer, parity_picture(240, 320, seed=9))
    differences = Differences(path.name, tolerance.MAP, 1.0)
    for seed, (height, width) in enumerate(MAP_SIZES):
        frame = parity_picture(height, width, seed)
        (affine_map,) = session.run(None, {"frame": frame[None], "style_code": code})
        expected = reference_map(stylizer, frame, code)
        differences.add(f"{width}x{height}", LANE, affine_map, expected)
    return differences.summary()


def golden_vectors(stylizer: StylizerNetwork) -> dict[str, NDArray[Any]]:
    """Return inputs and PyTorch's outputs for the three files, named as `export.parity.golden` wants them."""
    style, frame, r = parity_picture(48, 64, seed=1), parity_picture(64, 96, seed=2), 1.25
    code = reference_code(stylizer, style)
    affine_map = reference_map(stylizer, frame, code)
    vectors: dict[str, NDArray[Any]] = {
        "style_encoder/in/style": style[None],
        "style_encoder/out/style_code": code,
        "stylizer/in/r": np.array([r], np.float32),
        "stylizer/out/stylized": reference_frame(stylizer, frame, code, r).astype(np.uint8),
    }
    for role in ("stylizer", "stylizer_map"):
        vectors |= {f"{role}/in/frame": frame[None], f"{role}/in/style_code": code}
        vectors[f"{role}/out/affine_map"] = affine_map
    return vectors


def session_of(path: Path) -> onnxruntime.InferenceSession:
    """Open an ONNX file on the CPU."""
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@torch.no_grad()
def reference_code(stylizer: StylizerNetwork, style: Image) -> NDArray[np.float32]:
    """Return PyTorch's style code (1×K) of a uint8 H×W×3 style image."""
    image = _unit(style)
    height, width, _ = style.shape
    small = resize(image, style_size(height, width, stylizer.dims))
    code: NDArray[np.float32] = stylizer.encode_style(small).numpy()
    return code


@torch.no_grad()
def reference_frame(
    stylizer: StylizerNetwork, frame: Image, code: NDArray[np.float32], r: float
) -> NDArray[np.float64]:
    """Return PyTorch's stylized frame (1×rH×rW×3, whole gray levels)."""
    # r crosses the ONNX border as float32: the same number must decide the size here.
    stylized = stylizer(_unit(frame), torch.from_numpy(code), float(np.float32(r)))
    gray: NDArray[np.float64] = (stylized * 255).round().permute(0, 2, 3, 1).double().numpy()
    return gray


@torch.no_grad()
def reference_map(stylizer: StylizerNetwork, frame: Image, code: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return PyTorch's affine map (1×gh×gw×12) of a frame."""
    height, width, _ = frame.shape
    small = resize(_unit(frame), network_size(height, width, stylizer.dims))
    affine_map: NDArray[np.float32] = (
        stylizer.affine_map(small, torch.from_numpy(code)).permute(0, 2, 3, 1).numpy()
    )
    return affine_map


def _unit(picture: Image) -> torch.Tensor:
    return torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1).unsqueeze(0)
