"""ONNX text around the traced network: reduction and guided finish, whose sizes a tracer would freeze."""

from __future__ import annotations

from typing import Final

import onnx
from onnx import parser

from mvstylizer.stylizer import GUIDE
from training.look.network import THUMBNAIL

OPSET = 18  # opset 20 renames modes of GridSample and others, which converters do not support yet
IR_VERSION = 8  # the first with opset 18; ONNX Runtime reads it since 2023


_OUT_SIZE: Final = """
            size_float = Cast <to = 11> (size_in)
            r_double = Cast <to = 11> (r)
            scaled_out = Mul (size_float, r_double)
            rounded_out = Round (scaled_out)
            one_out = Constant <value = double {1.0}> ()
            atleast_out = Max (rounded_out, one_out)
            out_size = Cast <to = 7> (atleast_out)
            one_three = Constant <value = int64[2] {1, 3}> ()
            frame_sizes = Concat <axis = 0> (one_three, out_size)"""
_BYTES: Final = """
            nearest = Round (gray_out)
            clamped = Clip (nearest, zero_unit, gray_scale)
            bytes_planar = Cast <to = 2> (clamped)
            stylized = Transpose <perm = [0, 2, 3, 1]> (bytes_planar)"""


def reduction(
    source: str,
    target: str,
    pixels: int,
    cell: int,
    min_cells: int,
    *,
    whole: bool = False,
    thumb: bool = True,
) -> onnx.ModelProto:
    """Return a graph from uint8 NHWC to float NCHW in [0, 1], reduced to a pixel budget and whole cells.

    It computes the same sizes as `training.stylizer.network_size` and `style_size`, in double precision too.
    A picture within the budget whose sides are whole cells is not resized.

    Args:
        source: Name of the input.
        target: Name of the output.
        pixels: The budget.
        cell: Side of a cell in pixels.
        min_cells: Cells of the shortest side, at least.
        whole: Add outputs for the full-size picture (``unit``) and its size (``frame_size``).
        thumb: Add ``thumb``, the thumbnail of the reduced picture (`training.look.heads.thumbnail`).
    """
    sizes = "float[1,3,A,B] unit, int64[2] frame_size, " if whole else ""
    thumb_output = ", float[1,3,T,T] thumb" if thumb else ""
    small = f"{_area_weights(target, 2)}{_area_weights(target, 3)}{_thumb(target)}" if thumb else ""
    return _parsed(
        "before",
        f"""
        <ir_version: {IR_VERSION}, opset_import: ["" : {OPSET}]>
        before (uint8[1,H,W,3] {source}) => ({sizes}float[1,3,h,w] {target}{thumb_output}) {{
            planar = Transpose <perm = [0, 3, 1, 2]> ({source})
            gray = Cast <to = 1> (planar)
            white = Constant <value = float {{255.0}}> ()
            unit = Div (gray, white)
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
            fewest = Constant <value = double {{{float(min_cells)}}}> ()
            enough = Max (whole, fewest)
            small_extent = Mul (enough, cell)
            small_size = Cast <to = 7> (small_extent)
            batch_channels = Constant <value = int64[2] {{1, 3}}> ()
            sizes = Concat <axis = 0> (batch_channels, small_size)
            {target} = Resize <mode = "linear", antialias = 1, exclude_outside = 1> (unit, , , sizes)
            {small}
        }}
        """,
    )


def enlarged() -> onnx.ModelProto:
    """Return the finish of a stylizer that predicts an image: the image resized to r times the frame."""
    return _parsed(
        "finish",
        f"""
        <ir_version: {IR_VERSION}, opset_import: ["" : {OPSET}]>
        finish (float[1,3,a,b] image_in, int64[2] size_in, float[1] r) => (uint8[1,P,Q,3] stylized) {{
            {_OUT_SIZE}
            sized = Resize <mode = "linear", antialias = 1, exclude_outside = 1> (image_in, , , frame_sizes)
            zero_unit = Constant <value = float {{0.0}}> ()
            gray_scale = Constant <value = float {{255.0}}> ()
            gray_out = Mul (sized, gray_scale)
            {_BYTES}
        }}
        """,
    )


def finish(bins: int) -> onnx.ModelProto:
    """Return the guided finish: resize the frame by r and apply the bilateral grid to it.

    A trilinear read is a sum over bins: each bin's transforms, enlarged to the frame and weighted with the
    hat function of luma around the bin.
    """
    sums = "\n".join(_bin(k, bins) for k in range(bins))
    return _parsed(
        "finish",
        f"""
        <ir_version: {IR_VERSION}, opset_import: ["" : {OPSET}]>
        finish (float[1,rows,columns,{bins},12] grid_in, float[1,3,A,B] unit_in, int64[2] size_in, float[1] r)
            => (uint8[1,P,Q,3] stylized) {{
            {_OUT_SIZE}
            guide = Resize <mode = "linear", antialias = 1, exclude_outside = 1> (unit_in, , , frame_sizes)
            luma_weights = Constant <value = float[1,3,1,1] {{{", ".join(map(str, GUIDE))}}}> ()
            luma = Conv (guide, luma_weights)
            last_bin = Constant <value = float {{{float(max(bins - 1, 1))}}}> ()
            place = Mul (luma, last_bin)
            one_unit = Constant <value = float {{1.0}}> ()
            zero_unit = Constant <value = float {{0.0}}> ()
            ones = Add (zero_unit, one_unit)
            zeros_plane = Mul (luma, zero_unit)
            ones_plane = Add (zeros_plane, ones)
            terms = Concat <axis = 1> (guide, ones_plane)
            planes = Transpose <perm = [3, 0, 4, 1, 2]> (grid_in)
            one_twelve = Constant <value = int64[2] {{1, 12}}> ()
            grid_sizes = Concat <axis = 0> (one_twelve, out_size)
            per_row = Constant <value = int64[3] {{4, 4, 4}}> ()
            channel_axis = Constant <value = int64[1] {{1}}> ()
            color_0 = Concat <axis = 1> (zeros_plane, zeros_plane, zeros_plane)
            {sums}
            gray_scale = Constant <value = float {{255.0}}> ()
            gray_out = Mul (color_{bins}, gray_scale)
            {_BYTES}
        }}
        """,
    )


def _parsed(name: str, text: str) -> onnx.ModelProto:
    """Parse a graph; `name` goes before the names inside it, which must differ from those of a traced one."""
    model = parser.parse_model(text)
    keep = {"rename_inputs": False, "rename_outputs": False}
    return onnx.compose.add_prefix(model, f"{name}.", **keep)


def _thumb(image: str) -> str:
    """Return the text of ``thumb``, which follows that of both `_area_weights`."""
    return f"""
            across = Transpose <perm = [1, 0]> (weights_3)
            narrow = MatMul ({image}, across)
            thumb = MatMul (weights_2, narrow)"""


def _area_weights(image: str, axis: int) -> str:
    """Return the text of ``weights_AXIS``, as `training.look.heads.thumbnail` has them: parts × pixels."""
    a = axis
    return f"""
            side_{a} = Shape <start = {a}, end = {a + 1}> ({image})
            pixels_{a} = Squeeze (side_{a})
            none_{a} = Constant <value = int64 {{0}}> ()
            next_{a} = Constant <value = int64 {{1}}> ()
            count_{a} = Constant <value = int64 {{{THUMBNAIL}}}> ()
            index_{a} = Range (none_{a}, pixels_{a}, next_{a})
            begin_{a} = Cast <to = 11> (index_{a})
            pixel_{a} = Constant <value = double {{1.0}}> ()
            end_{a} = Add (begin_{a}, pixel_{a})
            part_{a} = Range (none_{a}, count_{a}, next_{a})
            part_float_{a} = Cast <to = 11> (part_{a})
            part_axis_{a} = Constant <value = int64[1] {{1}}> ()
            parts_{a} = Unsqueeze (part_float_{a}, part_axis_{a})
            length_{a} = Cast <to = 11> (side_{a})
            parts_count_{a} = Cast <to = 11> (count_{a})
            width_{a} = Div (length_{a}, parts_count_{a})
            low_{a} = Mul (parts_{a}, width_{a})
            high_{a} = Add (low_{a}, width_{a})
            upper_{a} = Min (high_{a}, end_{a})
            lower_{a} = Max (low_{a}, begin_{a})
            apart_{a} = Sub (upper_{a}, lower_{a})
            overlap_{a} = Relu (apart_{a})
            share_{a} = Div (overlap_{a}, width_{a})
            weights_{a} = Cast <to = 1> (share_{a})"""


def _bin(k: int, bins: int) -> str:
    """Return the text that adds bin k to ``color_k``, as ``color_k+1``."""
    weight = (
        f"""
            center_{k} = Constant <value = float {{{float(k)}}}> ()
            apart_{k} = Sub (place, center_{k})
            distance_{k} = Abs (apart_{k})
            falling_{k} = Sub (one_unit, distance_{k})
            weight_{k} = Relu (falling_{k})
            weighted_{k} = Mul (terms, weight_{k})"""
        if bins > 1
        else f"""
            weighted_{k} = Identity (terms)"""
    )
    rows = "".join(
        f"""
            product_{k}_{i} = Mul (row_{k}_{i}, weighted_{k})
            sum_{k}_{i} = ReduceSum (product_{k}_{i}, channel_axis)"""
        for i in range(3)
    )
    return f"""{weight}
            index_{k} = Constant <value = int64 {{{k}}}> ()
            cells_{k} = Gather <axis = 0> (planes, index_{k})
            dense_{k} = Resize <mode = "linear"> (cells_{k}, , , grid_sizes)
            row_{k}_0, row_{k}_1, row_{k}_2 = Split <axis = 1> (dense_{k}, per_row){rows}
            part_{k} = Concat <axis = 1> (sum_{k}_0, sum_{k}_1, sum_{k}_2)
            color_{k + 1} = Add (color_{k}, part_{k})"""
