"""Compare the lite stylizer's TFLite files with PyTorch, on all kinds of pictures.

Besides the picture that the ONNX files are checked on, there are flat, dark, black and checkered ones: their
statistics have no spread or the largest, and gains are extreme. Small sizes run on every lane of
`export.runtimes.cpu`. The network's full size runs on XNNPACK alone, as on a phone, because the reference
loops take many seconds for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from training.affine import apply_map

from export.errors import GraphError
from export.parity.reference import Reference
from export.parity.test_images import Image, parity_picture, pictures
from export.runtimes.cpu import CPU_LANES, run_on_cpu
from export.runtimes.delegate_lint import lint
from export.runtimes.difference import Array, Differences, Tolerance
from export.sizes import HeightWidth
from training.stylizer import network_size, style_size

# Sizes of the original pictures. Odd ones too: a style photo need not be a multiple of the map cell.
STYLE_SIZES: tuple[HeightWidth, ...] = ((48, 64), (97, 131), (144, 256))
FRAME_SIZES: tuple[HeightWidth, ...] = ((48, 64), (136, 104), (288, 512))
MAX_PIXELS_ON_ALL_LANES = 64 * 64


def check_style_encoder_tflite(content: bytes, reference: Reference) -> dict[str, Any]:
    """Compare ``style_encoder.tflite`` with the reference.

    Returns:
        The manifest's parity row (`Differences.summary`), relative to the largest entry of the code.

    Raises:
        ParityError: It differs by more than `Tolerance.CODE`.
        LaneError: A lane cannot run the file.
        GraphError: XNNPACK would not accept the whole file.
    """
    _check_whole(content, "style_encoder.tflite")
    differences = Differences("style_encoder.tflite", Tolerance.CODE, 1.0)
    dims = reference.stylizer.dims
    for height, width in dict.fromkeys(style_size(*size, dims) for size in STYLE_SIZES):
        for kind, picture in pictures(height, width):
            expected = reference.style_code(picture)
            scale = np.abs(expected).max()
            for lane in _lanes(height, width):
                (found,) = run_on_cpu(content, {"style": picture[None]}, lane)
                differences.add(f"{kind} {width}x{height}", lane, found / scale, expected / scale)
    return differences.summary()


def check_stylizer_map_tflite(content: bytes, reference: Reference) -> dict[str, Any]:
    """Compare ``stylizer_map.tflite`` with the reference; see `check_maps`.

    Raises:
        ParityError: A picture or a map differs.
        LaneError: A lane cannot run the file.
        GraphError: XNNPACK would not accept the whole file.
    """
    _check_whole(content, "stylizer_map.tflite")
    dims = reference.stylizer.dims
    sizes = dict.fromkeys(network_size(*size, dims) for size in FRAME_SIZES)
    return check_maps("stylizer_map.tflite", content, reference, list(sizes))


def check_maps(
    name: str, content: bytes, reference: Reference, sizes: Sequence[HeightWidth]
) -> dict[str, Any]:
    """Compare a file's maps, and the pictures made with them, with the reference.

    Args:
        name: Of the file.
        content: The file.
        reference: Of the same checkpoint.
        sizes: Of the pictures.

    Returns:
        The manifest's parity row, in gray levels before rounding, and ``map_max``, the largest difference of
        a map's entries, relative to the map's largest entry: where a picture is flat, gains of 50 change
        nothing visible.

    Raises:
        ParityError: A pixel differs by more than `Tolerance.GRAY`, or a map by more than `Tolerance.MAP`.
        LaneError: A lane cannot run the file.
    """
    code = reference.style_code(parity_picture(144, 192, seed=9))
    frames = Differences(name, Tolerance.GRAY, 255.0, " gray levels")
    maps = Differences(f"The map of {name}", Tolerance.MAP, 1.0)
    for height, width in sizes:
        for kind, picture in pictures(height, width):
            expected = reference.affine_map(picture, code)
            scale, case = max(1.0, float(np.abs(expected).max())), f"{kind} {width}x{height}"
            for lane in _lanes(height, width):
                (found,) = run_on_cpu(content, {"frame": picture[None], "style_code": code}, lane)
                maps.add(case, lane, found / scale, expected / scale)
                frames.add(case, lane, _applied(found, picture), _applied(expected, picture))
    return {**frames.summary(), "map_max": maps.summary()["max"]}


def _check_whole(content: bytes, name: str) -> None:
    found = [finding for finding in lint(content) if finding.delegate == "XNNPACK"]
    if found:
        raise GraphError(f"{name} is not suitable for {found[0]}")


def _lanes(height: int, width: int) -> list[str]:
    return list(CPU_LANES) if height * width <= MAX_PIXELS_ON_ALL_LANES else ["XNNPACK"]


def _applied(affine_map: Array, picture: Image) -> NDArray[np.float32]:
    """Apply a map (1×gh×gw×12) to a picture; gray levels, not rounded."""
    grid = torch.from_numpy(np.array(affine_map)).permute(0, 3, 1, 2)
    frame = torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)[None]
    styled: NDArray[np.float32] = apply_map(grid, frame).mul(255).numpy()
    return styled
