"""The TFLite files of a lite stylizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, NamedTuple

from export.cache import Cache
from export.cost import tflite_macs
from export.kernels.lite_contract import LITE_FILES, LOOK, STYLE_ENCODER, lite_contract
from export.kernels.look import build_look, build_style_encoder
from export.onnx_models.weight_swap import digest_of, weights_of
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
    if stylizer.heads is None:
        draft.report(f"TFLite of the network: skipped, {stylizer.name} runs on edges only")
        return
    for role, (build, check) in _FILES.items():
        draft.begin(LITE_FILES[role])
        content = _built(draft, role, build)
        _add(draft, role, content, check(content, draft.reference))


def _built(draft: Draft, role: str, build: Callable[..., bytes]) -> bytes:
    """Convert the network, or take the file of the same weights from the cache; it is checked either way."""
    heads = draft.reference.stylizer.heads
    assert heads is not None
    key = Cache.key("lite", role, draft.half, digest_of(weights_of(heads)))
    files = draft.cache.get(key) if draft.cache is not None else None
    content = files["file.tflite"] if files else build(heads, half=draft.half)
    if draft.cache is not None and not files:
        draft.cache.put(key, {"file.tflite": content})
    return content


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
