"""Write ``style_encoder``, ``stylizer`` and ``stylizer_map`` as ONNX: uint8 NHWC, any size, opset 18.

torch.onnx traces the network from small wrapper modules. Scaling, layout, the reduction to the pixel budget
and the guided finish at full size depend on sizes and on the upscaling factor r at run time, which a tracer
would freeze. They are written as ONNX text and merged.

Inputs and outputs (see `export.onnx_models.contract`):

    style_encoder  style uint8 [1, H, W, 3]                     → style_code float32 [1, K]
    stylizer       frame uint8 [1, H, W, 3], style_code, r [1]  → stylized uint8 [1, round(rH), round(rW), 3],
                                                                  affine_map float32 [1, gh, gw, 12]
    stylizer_map   frame uint8 [1, H, W, 3], style_code         → affine_map float32 [1, gh, gw, 12]

The map has its own file, because runtimes do not prune a graph to the outputs that a call names. It takes a
frame of any size; a frame that already has the network's size is not resized.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import parser
from torch import Tensor, nn

from export.onnx_models.file import Precision, save_model
from export.onnx_models.graph_text import FINISH, IR_VERSION, OPSET, reduction
from export.sizes import WidthHeight
from training.stylizer import StylizerNetwork, network_size

Metadata = Mapping[str, str]


class MapCore(nn.Module):
    """Trace-only wrapper: small content (1×3×h×w) and style code → affine map 1×gh×gw×12."""

    def __init__(self, stylizer: StylizerNetwork) -> None:
        super().__init__()
        self.stylizer = stylizer

    def forward(self, content: Tensor, style_code: Tensor) -> Tensor:
        """See `StylizerNetwork.affine_map`."""
        return self.stylizer.affine_map(content, style_code).permute(0, 2, 3, 1)


class StaticMapCore(nn.Module):
    """Trace-only wrapper: uint8 frame (1×h×w×3) and style code → affine map 1×gh×gw×12."""

    def __init__(self, stylizer: StylizerNetwork) -> None:
        super().__init__()
        self.stylizer = stylizer

    def forward(self, frame: Tensor, style_code: Tensor) -> Tensor:
        """See `StylizerNetwork.affine_map`."""
        content = frame.permute(0, 3, 1, 2).float() * (1 / 255)
        return self.stylizer.affine_map(content, style_code).permute(0, 2, 3, 1)


class StyleCore(nn.Module):
    """Trace-only wrapper: style image (1×3×h×w) → style code 1×K."""

    def __init__(self, stylizer: StylizerNetwork) -> None:
        super().__init__()
        self.stylizer = stylizer

    def forward(self, style: Tensor) -> Tensor:
        """See `StylizerNetwork.encode_style`."""
        return self.stylizer.encode_style(style)


def write_style_encoder(
    stylizer: StylizerNetwork, path: Path, precision: Precision = "fp16", metadata: Metadata | None = None
) -> None:
    """Write ``style_encoder.onnx``.

    Args:
        stylizer: In evaluation mode.
        path: The file.
        precision: Of the stored weights; arithmetic is single precision either way.
        metadata: Entries of the file's ``metadata_props``.

    Raises:
        GraphError: The traced graph is not valid, or not clean.
    """
    core = _trace(
        StyleCore(stylizer), (torch.rand(1, 3, 96, 128),), ["style_small"], ["style_code"], multiple=1
    )
    before = reduction("style", "style_small", stylizer.dims.style_pixels, cell=1, min_cells=16)
    model = onnx.compose.merge_models(before, core, io_map=[("style_small", "style_small")])
    save_model(model, path, precision, metadata or {})


def write_stylizer(
    stylizer: StylizerNetwork, path: Path, precision: Precision = "fp16", metadata: Metadata | None = None
) -> None:
    """Write ``stylizer.onnx``; see `write_style_encoder`."""
    dims = stylizer.dims
    example = (torch.rand(1, 3, 96, 128), torch.rand(1, stylizer.style_code_size))
    core = _trace(
        MapCore(stylizer), example, ["content", "style_code"], ["affine_map"], multiple=dims.map_cell
    )
    before = reduction("frame", "content", dims.network_pixels, dims.map_cell, min_cells=2, whole=True)
    model = onnx.compose.merge_models(before, core, io_map=[("content", "content")])
    model = onnx.compose.merge_models(
        model,
        parser.parse_model(FINISH),
        io_map=[("affine_map", "map"), ("unit", "unit_in"), ("frame_size", "size_in")],
        outputs=["stylized", "affine_map"],
    )
    _order(model.graph.input, ["frame", "style_code", "r"])
    _order(model.graph.output, ["stylized", "affine_map"])
    save_model(model, path, precision, metadata or {})


def write_stylizer_map(stylizer_onnx: Path, path: Path) -> None:
    """Write ``stylizer_map.onnx``: the part of ``stylizer.onnx`` that computes the map, same metadata.

    Args:
        stylizer_onnx: File written by `write_stylizer`.
        path: The file.

    Raises:
        GraphError: The part is not valid, or not clean.
    """
    whole = onnx.load(stylizer_onnx)
    part = onnx.utils.Extractor(whole).extract_model(["frame", "style_code"], ["affine_map"])
    metadata = {entry.key.removeprefix("mvstylizer."): entry.value for entry in whole.metadata_props}
    part.ir_version = IR_VERSION
    save_model(part, path, "fp32", metadata)  # leaves the weights as they are


def static_map_graph(stylizer: StylizerNetwork, size: WidthHeight) -> onnx.ModelProto:
    """Return a static graph of the map for frames of one size; see `StaticMapCore`."""
    width, height = size
    rows, columns = network_size(height, width, stylizer.dims)
    frame = torch.zeros(1, rows, columns, 3, dtype=torch.uint8)
    example = (frame, torch.rand(1, stylizer.style_code_size))
    return traced(StaticMapCore(stylizer), example, ["frame", "style_code"], ["affine_map"])


def _trace(
    core: nn.Module, example: tuple[Tensor, ...], inputs: list[str], outputs: list[str], multiple: int
) -> onnx.ModelProto:
    """Trace a module whose first input is 1×3×h×w with h and w any multiples of `multiple`."""
    height, width = (torch.export.Dim(name, min=2, max=8192) for name in ("cells_high", "cells_wide"))
    shapes: list[dict[int, object]] = [{2: multiple * height, 3: multiple * width}]
    shapes += [{} for _ in example[1:]]
    return traced(core, example, inputs, outputs, tuple(shapes))


def traced(
    core: nn.Module,
    example: tuple[Tensor, ...],
    inputs: list[str],
    outputs: list[str],
    dynamic_shapes: tuple[dict[int, object], ...] | None = None,
) -> onnx.ModelProto:
    """Trace a module on example inputs.

    Args:
        core: In evaluation mode.
        example: Its inputs.
        inputs: Their names in the graph.
        outputs: Names of the outputs.
        dynamic_shapes: Dynamic dimensions of each input; None fixes the example's sizes.

    Returns:
        The graph, without the tracer's annotations, which contain paths of this machine.
    """
    with warnings.catch_warnings(), _quiet("torch.onnx", "onnxscript", "torch.export"):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            core.eval(),
            example,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=dynamic_shapes,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
            optimize=True,
        )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    model.ir_version = IR_VERSION
    del model.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    return model


def _order(values: Any, names: list[str]) -> None:
    """Sort graph inputs or outputs by the order of `names`."""
    ordered = sorted(values, key=lambda value: names.index(value.name))
    del values[:]
    values.extend(ordered)


class _quiet:  # noqa: N801 - a context manager used like a function
    """Silence loggers that print a line for every pass of the exporter."""

    def __init__(self, *names: str) -> None:
        self.loggers = [logging.getLogger(name) for name in names]

    def __enter__(self) -> None:
        self.levels = [logger.level for logger in self.loggers]
        for logger in self.loggers:
            logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        for logger, level in zip(self.loggers, self.levels, strict=True):
            logger.setLevel(level)
