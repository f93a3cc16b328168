"""What goes in and out of the lite stylizer's TFLite files: the manifest's rows, and the roles.

They stand beside the ONNX files of the same stem, whose roles have the bare names.
"""

from __future__ import annotations

from typing import Final

from export.manifest import TensorSpec

STYLE_CODE: Final = 263
LITE_STEMS: Final = ("style_encoder", "stylizer_map")
_CODE: Final = TensorSpec("style_code", "float32", (1, STYLE_CODE), "N×K", "as style_encoder gives it")
_STYLE: Final = TensorSpec("style", "uint8", (1, -1, -1, 3), "NHWC RGB, within style_pixels", "0..255")
_FRAME: Final = TensorSpec("frame", "uint8", (1, -1, -1, 3), "NHWC RGB, of the network's size", "0..255")
_MAP: Final = TensorSpec("affine_map", "float32", (1, -1, -1, 12), "NHW(3×4), [A | b] per cell", "RGB in 0..1")


def lite_contract(stem: str) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return inputs and outputs of ``style_encoder`` or ``stylizer_map``."""
    if stem == "style_encoder":
        return (_STYLE,), (_CODE,)
    return (_FRAME, _CODE), (_MAP,)


def lite_role(stem: str) -> str:
    """Return the role of a stem's TFLite file."""
    return f"{stem}_tflite"
