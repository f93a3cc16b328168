"""Roles, inputs and outputs of the lite stylizer's TFLite files, as the manifest lists them.

The ONNX file of the same stem has the bare stem as its role. Unlike the ONNX files, the TFLite files take
pictures that are already reduced.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from export.onnx_models.contract import contract
from mvstylizer.bundle import LITE_ROLES, TensorSpec

LITE_STEMS: Final = dict(zip(LITE_ROLES, ("style_encoder", "stylizer_map"), strict=True))
"""Role → stem of its file, which is also the role of the equivalent ONNX file."""
_LAYOUTS: Final = {"style": "NHWC RGB, within style_pixels", "frame": "NHWC RGB, at the network's size"}


def lite_contract(role: str, style_code: int) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return the inputs and outputs of a role of `LITE_STEMS`; see `export.onnx_models.contract.contract`."""
    inputs, outputs = contract(LITE_STEMS[role], style_code)
    return tuple(replace(spec, layout=_LAYOUTS.get(spec.name, spec.layout)) for spec in inputs), outputs
