"""What goes in and out of the lite stylizer's TFLite files: the manifest's rows, and the roles.

They stand beside the ONNX files of the same stem, which have the bare stems as their roles. Unlike those they
take pictures that are reduced already.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from export.onnx_models.contract import contract
from mvstylizer.bundle import LITE_ROLES, TensorSpec

LITE_STEMS: Final = dict(zip(LITE_ROLES, ("style_encoder", "stylizer_map"), strict=True))
"""Role → the stem of its file, which is the role of the ONNX file that computes the same."""
_LAYOUTS: Final = {"style": "NHWC RGB, within style_pixels", "frame": "NHWC RGB, at the network's size"}


def lite_contract(role: str, style_code: int) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return inputs and outputs of a role of `LITE_STEMS`; see `export.onnx_models.contract.contract`."""
    inputs, outputs = contract(LITE_STEMS[role], style_code)
    return tuple(replace(spec, layout=_LAYOUTS.get(spec.name, spec.layout)) for spec in inputs), outputs
