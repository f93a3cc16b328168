"""ONNX text around the traced network: reduction and guided finish, whose sizes a tracer would freeze."""

from __future__ import annotations

import onnx
from onnx import parser

OPSET = 18  # opset 20 renames modes of GridSample and others, which converters do not support yet
IR_VERSION = 8  # the first with opset 18; ONNX Runtime reads it since 2023


def reduction(
    source: str, target: str, pixels: int, cell: int, min_cells: int, *, whole: bool = False
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
    """
    sizes = "float[1,3,A,B] unit, int64[2] frame_size, " if whole else ""
    return parser.parse_model(
        f"""
        <ir_version: {IR_VERSION}, opset_import: ["" : {OPSET}]>
        before (uint8[1,H,W,3] {source}) => ({sizes}float[1,3,h,w] {target}) {{
            planar = Transpose <perm = [0, 3, 1, 2]> ({source})
            gray = Cast <to = 1> (planar)
            full = Constant <value = float {{255.0}}> ()
            unit = Div (gray, full)
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
        }}
        """
    )


# The guided finish: resize the frame by r, enlarge the map to that size, one affine product per pixel.
FINISH = f"""
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
    color = Concat <axis = 1> (red, green, blue)
    gray_scale = Constant <value = float {{255.0}}> ()
    gray_out = Mul (color, gray_scale)
    nearest = Round (gray_out)
    black = Constant <value = float {{0.0}}> ()
    clamped = Clip (nearest, black, gray_scale)
    bytes_planar = Cast <to = 2> (clamped)
    stylized = Transpose <perm = [0, 2, 3, 1]> (bytes_planar)
}}
"""
