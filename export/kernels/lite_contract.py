"""Inputs and outputs of the lite stylizer's TFLite files, as the manifest lists them.

They take thumbnails, so that their sizes are fixed: the phone makes them (`device_runtime.stylizers.resize`)
and fits the bilateral grid to the look-up table (`device_runtime.stylizers.lut_grid`).
"""

from __future__ import annotations

from typing import Final

from mvstylizer.bundle import LITE_ROLES, TensorSpec
from training.look.network import THUMBNAIL
from training.look.palette import SIDE

STYLE_ENCODER, LOOK = LITE_ROLES
LITE_FILES: Final = {STYLE_ENCODER: "style_encoder.tflite", LOOK: "look.tflite"}
_THUMB = TensorSpec(
    "thumb", "float32", (1, THUMBNAIL, THUMBNAIL, 3), "NHWC RGB, means of equal areas", "0..1"
)
_LUT = TensorSpec("lut", "float32", (1, SIDE, SIDE, SIDE, 3), "N, blue, green, red, RGB", "0..1")


def lite_contract(role: str, style_code: int) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return the inputs and outputs of a role of `LITE_FILES`; see `export.onnx_models.contract.contract`."""
    code = TensorSpec("style_code", "float32", (1, style_code), "N×K", "as style_encoder returns it")
    return ((_THUMB,), (code,)) if role == STYLE_ENCODER else ((_THUMB, code), (_LUT,))
