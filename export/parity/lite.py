"""The lite stylizer's TFLite files against PyTorch, on pictures of every kind that cameras bring.

In addition to the picture that the ONNX files are checked on: flat, dark, black and checkered ones, where
the statistics have no spread or the greatest, and gains are largest. Small sizes run on every lane of
`export.runtimes.cpu`; the network's full size runs only where a phone would run it, because the reference
loops take many seconds there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.errors import GraphError
from export.parity.onnx import reference_code, reference_map
from export.parity.test_images import Image, parity_picture, pictures
from export.runtimes import tolerance
from export.runtimes.case import Array
from export.runtimes.cpu import CPU_LANES, run_on_cpu
from export.runtimes.delegate_lint import lint
from export.runtimes.difference import Differences
from export.sizes import Size
from training.affine import apply_map
from training.stylizer import StylizerNetwork

# Height and width. Odd ones too: a style needs no whole cells.
STYLE_SIZES = ((48, 64), (97, 131), (144, 256))
FRAME_SIZES = ((48, 64), (136, 104), (288, 512))
MAX_ON_ALL_LANES = 64 * 64


def check_style_encoder_tflite(content: bytes, stylizer: StylizerNetwork) -> dict[str, Any]:
    """Compare ``style_encoder.tflite`` with `StylizerNetwork.encode_style`.

    Returns:
        The manifest's parity row (`Differences.summary`), relative to the largest entry of the code.

    Raises:
        ParityError: It differs by more than `tolerance.CODE`.
        LaneError: A lane cannot run the file.
        GraphError: XNNPACK would not take it whole.
    """
    _whole(content, "style_encoder.tflite")
    differences = Differences("style_encoder.tflite", tolerance.CODE, 1.0)
    for height, width in STYLE_SIZES:
        for kind, picture in pictures(height, width):
            expected = reference_code(stylizer, picture)
            scale = np.abs(expected).max()
            for lane in _lanes(height, width):
                (found,) = run_on_cpu(content, {"style": picture[None]}, lane)
                differences.add(f"{kind} {width}x{height}", lane, found / scale, expected / scale)
    return differences.summary()


def check_stylizer_map_tflite(content: bytes, stylizer: StylizerNetwork) -> dict[str, Any]:
    """Compare ``stylizer_map.tflite`` with `StylizerNetwork.affine_map`, see `check_maps`.

    Raises:
        ParityError: It makes another picture, or another map.
        LaneError: A lane cannot run the file.
        GraphError: XNNPACK would not take it whole.
    """
    _whole(content, "stylizer_map.tflite")
    return check_maps("stylizer_map.tflite", content, stylizer, FRAME_SIZES)


def check_maps(name: str, content: bytes, stylizer: StylizerNetwork, sizes: Sequence[Size]) -> dict[str, Any]:
    """Compare the pictures that a file's maps make with those of `StylizerNetwork.affine_map`.

    Args:
        name: Of the file.
        content: The file.
        stylizer: The reference.
        sizes: Height and width of the pictures.

    Returns:
        The manifest's parity row, in gray levels before rounding, and ``map_max`` of the map's entries,
        relative to the largest one (where a picture is flat, gains of 50 make no difference that is seen).

    Raises:
        ParityError: A pixel differs by more than `tolerance.GRAY`, or a map by more than `tolerance.MAP`.
        LaneError: A lane cannot run the file.
    """
    code = reference_code(stylizer, parity_picture(144, 192, seed=9))
    frames = Differences(name, tolerance.GRAY, 255.0, " gray levels")
    maps = Differences(f"The map of {name}", tolerance.MAP, 1.0)
    for height, width in sizes:
        for kind, picture in pictures(height, width):
            expected = reference_map(stylizer, picture, code)
            scale, case = max(1.0, float(np.abs(expected).max())), f"{kind} {width}x{height}"
            for lane in _lanes(height, width):
                (found,) = run_on_cpu(content, {"frame": picture[None], "style_code": code}, lane)
                maps.add(case, lane, found / scale, expected / scale)
                frames.add(case, lane, _applied(found, picture), _applied(expected, picture))
    return {**frames.summary(), "map_max": maps.summary()["max"]}


def _whole(content: bytes, name: str) -> None:
    found = [finding for finding in lint(content) if finding.delegate == "XNNPACK"]
    if found:
        raise GraphError(f"{name} is not for {found[0]}")


def _lanes(height: int, width: int) -> list[str]:
    return list(CPU_LANES) if height * width <= MAX_ON_ALL_LANES else ["XNNPACK"]


def _applied(affine_map: Array, picture: Image) -> NDArray[np.float32]:
    """Apply a map (1×gh×gw×12) to a picture; gray levels, not rounded."""
    grid = torch.from_numpy(np.array(affine_map)).permute(0, 3, 1, 2)
    frame = torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)[None]
    styled: NDArray[np.float32] = apply_map(grid, frame).mul(255).numpy()
    return styled
