"""The TFLite files of a lite stylizer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from export.cost import HEIGHT, WIDTH, tflite_macs
from export.errors import GraphError
from export.kernels.lite_colorization import MODES
from export.kernels.lite_contract import LITE_STEMS, lite_contract
from export.kernels.static_map import EXTRA, PACKAGES, static_map
from export.kernels.stylizer_lite import build_style_encoder, build_stylizer_map
from export.onnx_models.weight_swap import weights_of
from export.parity.latency import lite_latency
from export.parity.lite import check_maps, check_style_encoder_tflite, check_stylizer_map_tflite
from export.runtimes.delegate_lint import rejections
from export.runtimes.difference import rounded
from export.runtimes.tflite_graph import Graph
from export.sizes import HeightWidth, WidthHeight
from export.writers.draft import Draft
from mvstylizer.bundle import LITE_ROLES, TensorSpec, file_spec
from mvstylizer.errors import need_extra
from training.options import StylizerDims
from training.stylizer import network_size, style_size

STYLE_ENCODER, STYLIZER_MAP = LITE_ROLES


def why_no_tflite(dims: StylizerDims) -> str | None:
    """Return why a network has no TFLite form, None where it has one."""
    if dims.variant != "lite":
        return f"variant {dims.variant} runs on edges only"
    if dims.colorization not in MODES:
        return f"colorization {dims.colorization} has no TFLite form"
    return None


def check_static(dims: StylizerDims) -> None:
    """Check, before minutes of work, that `write_static_map` can run.

    Raises:
        GraphError: The network has no TFLite form.
        MissingExtraError: onnx2tf, or a package that it needs but does not declare, is not installed.
    """
    if reason := why_no_tflite(dims):
        raise GraphError(f"The network cannot be converted to TFLite: {reason}", "Omit --onnx2tf")
    need_extra(EXTRA, *PACKAGES)


def write_lite(draft: Draft) -> None:
    """Write and check ``style_encoder.tflite`` and ``stylizer_map.tflite``; skip a network without them.

    Raises:
        ParityError: A file does not compute what PyTorch computes.
        GraphError: XNNPACK would not accept the whole file.
        KernelBuildError: The converter wrote an operator that phones lack.
    """
    stylizer = draft.reference.stylizer
    dims = stylizer.dims
    if reason := why_no_tflite(dims):
        draft.report(f"TFLite of the network: skipped, {reason}")
        return
    weights = weights_of(stylizer)
    content = build_style_encoder(weights, dims, half=draft.half)
    parity = check_style_encoder_tflite(content, draft.reference)
    _add_dynamic(draft, STYLE_ENCODER, content, parity, style_size(HEIGHT, WIDTH, dims))
    content = build_stylizer_map(weights, dims, half=draft.half)
    parity = check_stylizer_map_tflite(content, draft.reference)
    _add_dynamic(draft, STYLIZER_MAP, content, parity, network_size(HEIGHT, WIDTH, dims))


def write_static_map(draft: Draft, size: WidthHeight) -> None:
    """Write and check ``stylizer_map_WxH.tflite``, for frames of one size, through onnx2tf.

    Args:
        draft: The bundle of a network that `check_static` accepts.
        size: Of the frames.

    Raises:
        MissingExtraError: onnx2tf is not installed.
        ParityError: The file does not compute what PyTorch computes.
        GraphError: onnx2tf cannot convert the network.
    """
    width, height = size
    stylizer = draft.reference.stylizer
    rows, columns = network_size(height, width, stylizer.dims)
    name = f"stylizer_map_{width}x{height}"
    content = static_map(stylizer, size, half=draft.half)
    parity = check_maps(f"{name}.tflite", content, draft.reference, [(rows, columns)])
    (frame, code), (affine_map,) = lite_contract(STYLIZER_MAP, draft.network["style_code"])
    cell = stylizer.dims.map_cell
    inputs = replace(frame, shape=(1, rows, columns, 3)), code
    outputs = (replace(affine_map, shape=(1, rows // cell, columns // cell, 12)),)
    _add(draft, name, f"{name}.tflite", content, (inputs, outputs), parity, (rows, columns))


def _add_dynamic(draft: Draft, role: str, content: bytes, parity: dict[str, Any], size: HeightWidth) -> None:
    tensors = lite_contract(role, draft.network["style_code"])
    _add(draft, role, f"{LITE_STEMS[role]}.tflite", content, tensors, parity, size)


def _add(
    draft: Draft,
    role: str,
    name: str,
    content: bytes,
    tensors: tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]],
    parity: dict[str, Any],
    size: HeightWidth,
) -> None:
    """Write a checked file and describe it; its cost is that of a picture of `size`."""
    (draft.folder / name).write_bytes(content)
    (picture, *_), (height, width) = tensors[0], size
    macs = tflite_macs(content, {picture.name: (1, height, width, 3)})
    spec = file_spec(
        draft.folder,
        role,
        name,
        *tensors,
        parity=rounded(parity),
        delegates=rejections(content),
        cost={"parameters": Graph(content).parameters(), "macs": macs, "macs_size": f"{width}x{height}"},
    )
    draft.add(replace(spec, latency=lite_latency(content, spec, draft.network)))
