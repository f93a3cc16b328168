"""Inputs and outputs of each ONNX file, as the manifest lists them."""

from __future__ import annotations

from typing import Final

from mvstylizer.bundle import TensorSpec

_RGB = "NHWC RGB"
_FRAME = TensorSpec("frame", "uint8", (1, -1, -1, 3), _RGB, "0..255")
_CELLS = "N, rows, columns, bins of luma, 3×4 [A | b]"

ROLES: Final = ("style_encoder", "stylizer", "stylizer_map")


def contract(role: str, style_code: int, bins: int) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return the inputs and outputs of a role.

    Args:
        role: One of `ROLES`.
        style_code: Length of a style code.
        bins: Bins of the grid.
    """
    grid = TensorSpec("grid", "float32", (1, -1, -1, bins, 12), _CELLS, "RGB in 0..1")
    code = TensorSpec("style_code", "float32", (1, style_code), "N×K", "as style_encoder returns it")
    if role == "style_encoder":
        return (TensorSpec("style", "uint8", (1, -1, -1, 3), _RGB, "0..255"),), (code,)
    if role == "stylizer_map":
        return (_FRAME, code), (grid,)
    factor = TensorSpec("r", "float32", (1,), "upscaling factor", "above 0")
    image = TensorSpec("stylized", "uint8", (1, -1, -1, 3), f"{_RGB}, round(r·H) × round(r·W)", "0..255")
    return (_FRAME, code, factor), (image, grid)
