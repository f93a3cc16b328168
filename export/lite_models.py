"""The TFLite files of a lite stylizer, each written, compared with PyTorch and described."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from export.cost import HEIGHT, WIDTH
from export.errors import GraphError
from export.kernels.lite_colorization import MODES
from export.kernels.lite_contract import LITE_STEMS, lite_contract
from export.kernels.static_map import EXTRA, PACKAGES, static_map
from export.kernels.stylizer_lite import build_style_encoder, build_stylizer_map
from export.onnx_models.weight_swap import weights_of
from export.parity.latency import lite_latency
from export.parity.lite import check_maps, check_style_encoder_tflite, check_stylizer_map_tflite
from export.runtimes.delegate_lint import takes
from export.runtimes.difference import rounded
from export.runtimes.tflite_graph import Graph
from export.sizes import Size
from export.tflite_cost import tflite_macs
from mvstylizer.bundle import LITE_ROLES, FileSpec, file_spec
from mvstylizer.errors import need_extra
from training.stylizer import StylizerNetwork, network_size, style_size

STYLE_ENCODER, STYLIZER_MAP = LITE_ROLES


def why_left_out(stylizer: StylizerNetwork) -> str | None:
    """Return why a stylizer's network has no TFLite form, None where it has one."""
    if stylizer.dims.variant != "lite":
        return f"variant {stylizer.dims.variant} is for edges"
    if stylizer.dims.colorization not in MODES:
        return f"colorization {stylizer.dims.colorization} has no TFLite form"
    return None


def check_static(stylizer: StylizerNetwork) -> None:
    """Say before minutes of work why `write_static_map` cannot serve.

    Raises:
        GraphError: The network has no TFLite form.
        MissingExtraError: onnx2tf, or a package that it needs without saying so, is not installed.
    """
    if reason := why_left_out(stylizer):
        raise GraphError(f"No TFLite of this network: {reason}", "Leave --onnx2tf away")
    need_extra(EXTRA, *PACKAGES)


def write_lite(folder: Path, stylizer: StylizerNetwork, network: dict[str, Any]) -> Iterator[FileSpec]:
    """Write ``style_encoder.tflite`` and ``stylizer_map.tflite``.

    Args:
        folder: Of the bundle.
        stylizer: One that `why_left_out` has nothing against.
        network: The manifest's row: `precision` of the weights, pixel budgets, length of the style code.

    Yields:
        The entry of each file.

    Raises:
        ParityError: A file does not compute what PyTorch computes.
        GraphError: XNNPACK would not take it whole.
        KernelBuildError: The converter wrote an operator that phones lack.
    """
    weights, dims, half = weights_of(stylizer), stylizer.dims, network["precision"] == "fp16"
    content = build_style_encoder(weights, dims, half=half)
    parity = check_style_encoder_tflite(content, stylizer)
    yield _written(folder, STYLE_ENCODER, content, parity, style_size(HEIGHT, WIDTH, dims), network)
    content = build_stylizer_map(weights, dims, half=half)
    parity = check_stylizer_map_tflite(content, stylizer)
    yield _written(folder, STYLIZER_MAP, content, parity, network_size(HEIGHT, WIDTH, dims), network)


def write_static_map(
    folder: Path, stylizer: StylizerNetwork, network: dict[str, Any], size: Size
) -> FileSpec:
    """Write ``stylizer_map_WxH.tflite``, for frames of one size, through onnx2tf.

    Args:
        folder: Of the bundle.
        stylizer: One that `why_left_out` has nothing against.
        network: See `write_lite`.
        size: Width and height of the frames.

    Returns:
        The file's entry.

    Raises:
        MissingExtraError: onnx2tf is not installed.
        ParityError: The file does not compute what PyTorch computes.
        GraphError: onnx2tf cannot convert the network.
    """
    rows, columns = network_size(size[1], size[0], stylizer.dims)
    path = folder / "stylizer_map_{}x{}.tflite".format(*size)
    content = static_map(stylizer, size, half=network["precision"] == "fp16")
    path.write_bytes(content)
    (frame, code), (affine_map,) = lite_contract(STYLIZER_MAP, network["style_code"])
    cell = stylizer.dims.map_cell
    inputs = replace(frame, shape=(1, rows, columns, 3)), code
    outputs = (replace(affine_map, shape=(1, rows // cell, columns // cell, 12)),)
    parity = check_maps(path.name, content, stylizer, [(rows, columns)])
    macs = tflite_macs(content, {"frame": (1, rows, columns, 3)})
    spec = file_spec(
        folder, path.stem, path.name, inputs, outputs,
        parity=rounded(parity), delegates=takes(content),
        cost={"parameters": Graph(content).parameters(), "macs": macs, "macs_size": f"{columns}x{rows}"},
    )  # fmt: skip
    return replace(spec, latency=lite_latency(content, spec, network))


def _written(
    folder: Path, role: str, content: bytes, parity: dict[str, Any], size: Size, network: dict[str, Any]
) -> FileSpec:
    path = folder / f"{LITE_STEMS[role]}.tflite"
    path.write_bytes(content)
    inputs, outputs = lite_contract(role, network["style_code"])
    height, width = size
    macs = tflite_macs(content, {inputs[0].name: (1, height, width, 3)})
    spec = file_spec(
        folder, role, path.name, inputs, outputs,
        parity=rounded(parity), delegates=takes(content),
        cost={"parameters": Graph(content).parameters(), "macs": macs, "macs_size": f"{width}x{height}"},
    )  # fmt: skip
    return replace(spec, latency=lite_latency(content, spec, network))
