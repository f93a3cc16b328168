"""Checkpoint → ``style_encoder.onnx`` and ``stylizer.onnx``: uint8 NHWC in and out, any size, opset 18.

The network itself is traced by torch.onnx from small wrapper modules made only for it. What stands around
it (scaling, layout, the reduction to the pixel budget, the guided finish at full size) depends on sizes and
on the upscaling factor r at run time, which a tracer would freeze, so it is written as ONNX text and merged.

Contract (see `export.manifest` for the rows):

    style_encoder  style uint8 [1, H, W, 3]                     → style_code float32 [1, K]
    stylizer       frame uint8 [1, H, W, 3], style_code, r [1]  → stylized uint8 [1, round(rH), round(rW), 3],
                                                                  affine_map float32 [1, gh, gw, 12]

Whoever wants the ``affine_map`` alone asks for it with a tiny r: the map does not depend on r, and runtimes
compute the other output too, since they do not prune a graph to the outputs that a call names.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper, parser
from torch import Tensor, nn

from training.stylizer import STYLE_CODE, Stylizer

OPSET = 18  # from 20 on, GridSample and friends change names that converters do not know yet
IR_VERSION = 8  # the first that carries opset 18: read by ONNX Runtime of 2023 and later
HALF_FROM = 256  # initializers of at least so many elements are stored in half precision


class MapCore(nn.Module):
    """Trace-only wrapper: small content (1×3×h×w) and style code → affine map 1×gh×gw×12."""

    def __init__(self, stylizer: Stylizer) -> None:
        super().__init__()
        self.stylizer = stylizer

    def forward(self, content: Tensor, style_code: Tensor) -> Tensor:
        """See `Stylizer.affine_map`."""
        return self.stylizer.affine_map(content, style_code).permute(0, 2, 3, 1)


class StyleCore(nn.Module):
    """Trace-only wrapper: style image (1×3×h×w) → style code 1×K."""

    def __init__(self, stylizer: Stylizer) -> None:
        super().__init__()
        self.stylizer = stylizer

    def forward(self, style: Tensor) -> Tensor:
        """See `Stylizer.encode_style`."""
        return self.stylizer.encode_style(style)


def write_style_encoder(stylizer: Stylizer, path: Path) -> None:
    """Write ``style_encoder.onnx``."""
    core = _trace(
        StyleCore(stylizer), (torch.rand(1, 3, 96, 128),), ["style_small"], ["style_code"], multiple=1
    )
    before = _reduction("style", "style_small", stylizer.dims.style_pixels, cell=1, least=16)
    model = onnx.compose.merge_models(before, core, io_map=[("style_small", "style_small")])
    _finish(model, path, "style_encoder")


def write_stylizer(stylizer: Stylizer, path: Path) -> None:
    """Write ``stylizer.onnx``."""
    dims = stylizer.dims
    example = (torch.rand(1, 3, 96, 128), torch.rand(1, STYLE_CODE))
    core = _trace(
        MapCore(stylizer), example, ["content", "style_code"], ["affine_map"], multiple=dims.map_cell
    )
    before = _reduction("frame", "content", dims.network_pixels, cell=dims.map_cell, least=2)
    model = onnx.compose.merge_models(before, core, io_map=[("content", "content")])
    model = onnx.compose.merge_models(
        model,
        parser.parse_model(_FINISH),
        io_map=[("affine_map", "map"), ("unit", "unit_in"), ("frame_size", "size_in")],
        outputs=["stylized", "affine_map"],
    )
    _order(model.graph.input, ["frame", "style_code", "r"])
    _order(model.graph.output, ["stylized", "affine_map"])
    _finish(model, path, "stylizer")


def _reduction(source: str, target: str, pixels: int, cell: int, least: int) -> onnx.ModelProto:
    """Uint8 NHWC → float NCHW in [0, 1], reduced to a pixel budget and rounded to whole cells.

    The same steps as `training.stylizer.network_size` and `style_size`, in double precision like there.
    """
    sizes = "float[1,3,A,B] unit, int64[2] frame_size, " if source == "frame" else ""
    return parser.parse_model(
        f"""
        <ir_version: {IR_VERSION}, opset_import: ["" : {OPSET}]>
        before (uint8[1,H,W,3] {source}) => ({sizes}float[1,3,h,w] {target}) {{
            planar = Transpose <perm = [0, 3, 1, 2]> ({source})
            grey = Cast <to = 1> (planar)
            full = Constant <value = float {{255.0}}> ()
            unit = Div (grey, full)
            frame_size = Shape <start = 1, end = 3> ({source})
            extent = Cast <to = 11> (frame_size)
            area = ReduceProd <keepdims = 0> (extent)
            budget = Constant <value = double {{{float(pixels)}}}> ()
            one = Constant <value = double {{1.0}}> ()
            ratio = Div (budget, area)
            shrink = Sqrt (ratio)
            scale = Min (shrink, one)
            cell = Constant <value = double {{{float(cell)}}}> ()
            scaled = Mul (extent, scale)
            cells = Div (scaled, cell)
            whole = Round (cells)
            fewest = Constant <value = double {{{float(least)}}}> ()
            enough = Max (whole, fewest)
            small_extent = Mul (enough, cell)
            small_size = Cast <to = 7> (small_extent)
            batch_channels = Constant <value = int64[2] {{1, 3}}> ()
            sizes = Concat <axis = 0> (batch_channels, small_size)
            {target} = Resize <mode = "linear", antialias = 1, exclude_outside = 1> (unit, , , sizes)
        }}
        """
    )


# The guided finish: the frame resized by r, the map enlarged to it, one affine product per pixel.
_FINISH = f"""
<ir_version: {IR_VERSION}, opset_import: ["" : {OPSET}]>
finish (float[1,gh,gw,12] map, float[1,3,A,B] unit_in, int64[2] size_in, float[1] r)
    => (uint8[1,P,Q,3] stylized) {{
    size_float = Cast <to = 11> (size_in)
    r_double = Cast <to = 11> (r)
    scaled_out = Mul (size_float, r_double)
    rounded_out = Round (scaled_out)
    one_out = Constant <value = double {{1.0}}> ()
    atleast_out = Max (rounded_out, one_out)
    out_size = Cast <to = 7> (atleast_out)
    one_three = Constant <value = int64[2] {{1, 3}}> ()
    frame_sizes = Concat <axis = 0> (one_three, out_size)
    guide = Resize <mode = "linear", antialias = 1, exclude_outside = 1> (unit_in, , , frame_sizes)
    planes = Transpose <perm = [0, 3, 1, 2]> (map)
    one_twelve = Constant <value = int64[2] {{1, 12}}> ()
    map_sizes = Concat <axis = 0> (one_twelve, out_size)
    dense = Resize <mode = "linear"> (planes, , , map_sizes)
    per_row = Constant <value = int64[3] {{4, 4, 4}}> ()
    row_r, row_g, row_b = Split <axis = 1> (dense, per_row)
    gain_and_shift = Constant <value = int64[2] {{3, 1}}> ()
    gain_r, shift_r = Split <axis = 1> (row_r, gain_and_shift)
    gain_g, shift_g = Split <axis = 1> (row_g, gain_and_shift)
    gain_b, shift_b = Split <axis = 1> (row_b, gain_and_shift)
    channel_axis = Constant <value = int64[1] {{1}}> ()
    product_r = Mul (gain_r, guide)
    product_g = Mul (gain_g, guide)
    product_b = Mul (gain_b, guide)
    linear_r = ReduceSum (product_r, channel_axis)
    linear_g = ReduceSum (product_g, channel_axis)
    linear_b = ReduceSum (product_b, channel_axis)
    red = Add (linear_r, shift_r)
    green = Add (linear_g, shift_g)
    blue = Add (linear_b, shift_b)
    colour = Concat <axis = 1> (red, green, blue)
    grey_scale = Constant <value = float {{255.0}}> ()
    grey_out = Mul (colour, grey_scale)
    nearest = Round (grey_out)
    black = Constant <value = float {{0.0}}> ()
    clamped = Clip (nearest, black, grey_scale)
    bytes_planar = Cast <to = 2> (clamped)
    stylized = Transpose <perm = [0, 2, 3, 1]> (bytes_planar)
}}
"""


def _trace(
    core: nn.Module, example: tuple[Tensor, ...], inputs: list[str], outputs: list[str], multiple: int
) -> onnx.ModelProto:
    """Trace a module whose first input is 1×3×h×w with h and w any multiples of `multiple`."""
    height, width = (torch.export.Dim(name, min=2, max=8192) for name in ("cells_high", "cells_wide"))
    shapes: list[dict[int, object]] = [{2: multiple * height, 3: multiple * width}]
    shapes += [{} for _ in example[1:]]
    with warnings.catch_warnings(), _quiet("torch.onnx", "onnxscript", "torch.export"):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            core.eval(), example, input_names=inputs, output_names=outputs, dynamic_shapes=tuple(shapes),
            opset_version=OPSET, dynamo=True, verbose=False, optimize=True,
        )  # fmt: skip
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    model.ir_version = IR_VERSION
    del model.metadata_props[:]
    for node in model.graph.node:  # the tracer leaves Python stack traces with this machine's paths
        del node.metadata_props[:]
        node.doc_string = ""
    return model


def _finish(model: onnx.ModelProto, path: Path, name: str) -> None:
    """Store large weights in half precision, check the model in full and write it."""
    model.graph.name = name
    model.producer_name = "mvstylizer"
    del model.graph.value_info[:]
    del model.opset_import[1:]  # merging repeats the entry, one for each part
    _halve(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _halve(model: onnx.ModelProto) -> None:
    """Replace large float32 initializers by float16 ones behind a Cast; runtimes fold the Cast at load."""
    casts = []
    for initializer in model.graph.initializer:
        values = numpy_helper.to_array(initializer)
        if values.dtype != np.float32 or values.size < HALF_FROM:
            continue
        name = initializer.name
        initializer.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _order(values: Any, names: list[str]) -> None:
    """Put graph inputs or outputs in the order of the contract."""
    ordered = sorted(values, key=lambda value: names.index(value.name))
    del values[:]
    values.extend(ordered)


class _quiet:  # noqa: N801 - a context manager used like a function
    """Silence loggers that report every pass of the exporter."""

    def __init__(self, *names: str) -> None:
        self.loggers = [logging.getLogger(name) for name in names]

    def __enter__(self) -> None:
        self.levels = [logger.level for logger in self.loggers]
        for logger in self.loggers:
            logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        for logger, level in zip(self.loggers, self.levels, strict=True):
            logger.setLevel(level)
