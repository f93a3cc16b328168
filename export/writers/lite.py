"""The TFLite files of a lite stylizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, NamedTuple

from export.cost import tflite_macs
from export.kernels.lite_contract import LITE_FILES, LOOK, STYLE_ENCODER, lite_contract
from export.kernels.look import build_look, build_style_encoder
from export.parity.latency import lite_latency
from export.parity.lite import check_look_tflite, check_style_encoder_tflite
from export.parity.reference import Reference
from export.runtimes.delegate_lint import rejections
from export.runtimes.difference import rounded
from export.runtimes.tflite_graph import Graph
from export.writers.draft import Draft
from mvstylizer.bundle import file_spec


class _File(NamedTuple):
    build: Callable[..., bytes]
    check: Callable[[bytes, Reference], dict[str, Any]]


_FILES: Final = {
    STYLE_ENCODER: _File(build_style_encoder, check_style_encoder_tflite),
    LOOK: _File(build_look, check_look_tflite),
}


def write_lite(draft: Draft) -> None:
    """Write and check ``style_encoder.tflite`` and ``look.tflite``; skip a network with a local part.

    Raises:
        ParityError: A file does not compute what PyTorch computes.
        KernelBuildError: An operator has no TFLite form.
    """
    stylizer = draft.reference.stylizer
    if stylizer.local is not None:
        draft.report(f"TFLite of the network: skipped, variant {stylizer.dims.variant} runs on edges only")
        return
    for role, (build, check) in _FILES.items():
        content = build(stylizer.heads, half=draft.half)
        _add(draft, role, content, check(content, draft.reference))


def _add(draft: Draft, role: str, content: bytes, parity: dict[str, Any]) -> None:
    """Write a checked file and describe it."""
    name = LITE_FILES[role]
    (draft.folder / name).write_bytes(content)
    inputs, outputs = lite_contract(role, draft.network["style_code"])
    _, height, width, _ = inputs[0].shape
    cost = {
        "parameters": Graph(content).parameters(),
        "macs": tflite_macs(content, {}),
        "macs_size": f"{width}x{height}",
    }
    rejected = rejections(content)
    spec = file_spec(
        draft.folder, role, name, inputs, outputs, parity=rounded(parity), delegates=rejected, cost=cost
    )
    draft.add(replace(spec, latency=lite_latency(content, spec)))
