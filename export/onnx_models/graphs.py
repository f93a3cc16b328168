"""Write ``style_encoder``, ``stylizer`` and ``stylizer_map`` as ONNX: uint8 NHWC, any size, opset 18.

torch.onnx traces the network from small wrapper modules. Scaling, layout, the reduction to the pixel budget
and the guided finish at full size depend on sizes and on the upscaling factor r at run time, which a tracer
would freeze. They are written as ONNX text and merged.

Inputs and outputs (see `export.onnx_models.contract`):

    style_encoder  style uint8 [1, H, W, 3]                     → style_code float32 [1, K]
    stylizer       frame uint8 [1, H, W, 3], style_code, r [1]  → stylized uint8 [1, round(rH), round(rW), 3],
                                                                  grid float32 [1, rows, columns, bins, 12]
    stylizer_map   frame uint8 [1, H, W, 3], style_code         → grid

The map has its own file, because runtimes do not prune a graph to the outputs that a call names. It takes a
frame of any size; a frame that already has the network's size is not resized.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import onnx
import torch
from torch import Tensor, nn

from export.adapter import Adapter, adapted
from export.onnx_models.file import Precision, save_model
from export.onnx_models.graph_text import IR_VERSION, OPSET, enlarged, finish, reduction
from export.user_errors import untraceable
from training.look.network import THUMBNAIL

Metadata = Mapping[str, str]

MIN_STYLE: Final = 16  # pixels of a style photo's shortest side; see `training.stylizer.style_size`
MIN_CELLS: Final = 2  # of the content's shortest side; see `training.stylizer.network_size`


class MapCore(nn.Module):
    """Trace-only wrapper: content (1×3×h×w), style code, thumbnail → grid 1×rows×columns×bins×12, image."""

    def __init__(self, stylizer: Adapter) -> None:
        super().__init__()
        self.stylizer = stylizer

    def forward(self, content: Tensor, style_code: Tensor, thumb: Tensor | None = None) -> tuple[Tensor, ...]:
        """See `Adapter.outputs`; there is an image where the kind has one."""
        image, grid = self.stylizer.outputs(content, style_code, thumb)
        rows = grid.permute(0, 3, 4, 1, 2)
        return (rows,) if image is None else (rows, image)


class StyleCore(nn.Module):
    """Trace-only wrapper: style image (1×3×h×w) and thumbnail → style code 1×K."""

    def __init__(self, stylizer: Adapter) -> None:
        super().__init__()
        self.stylizer = stylizer

    def forward(self, style: Tensor, thumb: Tensor | None = None) -> Tensor:
        """See `Adapter.encode_style`."""
        return self.stylizer.encode_style(style, thumb)


def write_style_encoder(
    stylizer: nn.Module, path: Path, precision: Precision = "fp16", metadata: Metadata | None = None
) -> None:
    """Write ``style_encoder.onnx``.

    Args:
        stylizer: Any that keeps `export.protocol.Exportable`, in evaluation mode.
        path: The file.
        precision: Of the stored weights; arithmetic is single precision either way.
        metadata: Entries of the file's ``metadata_props``.

    Raises:
        GraphError: The traced graph is not valid, or not clean.
    """
    whole = adapted(stylizer)
    thumbs = _thumbs(whole)
    example = (torch.rand(1, 3, 96, 128), *thumbs.values())
    core = _trace(
        StyleCore(whole), example, ["style_small", *thumbs], ["style_code"], multiple=1, at_least=MIN_STYLE
    )
    pixels = whole.dims.style_pixels
    before = reduction("style", "style_small", pixels, cell=1, min_cells=MIN_STYLE, thumb=bool(thumbs))
    model = onnx.compose.merge_models(
        before, core, io_map=[(name, name) for name in ("style_small", *thumbs)]
    )
    save_model(model, path, precision, metadata or {})


def write_stylizer(
    stylizer: nn.Module, path: Path, precision: Precision = "fp16", metadata: Metadata | None = None
) -> None:
    """Write ``stylizer.onnx``; see `write_style_encoder`."""
    whole = adapted(stylizer)
    dims, thumbs = whole.dims, _thumbs(whole)
    example = (_content(dims.map_cell), torch.rand(1, whole.style_code_size), *thumbs.values())
    outputs = ["grid", "image"] if whole.kind == "image" else ["grid"]
    core = _trace(
        MapCore(whole),
        example,
        ["content", "style_code", *thumbs],
        outputs,
        multiple=dims.map_cell,
        at_least=MIN_CELLS,
    )
    before = reduction(
        "frame",
        "content",
        dims.network_pixels,
        dims.map_cell,
        min_cells=MIN_CELLS,
        whole=True,
        thumb=bool(thumbs),
    )
    model = onnx.compose.merge_models(before, core, io_map=[(name, name) for name in ("content", *thumbs)])
    applied = [("grid", "grid_in"), ("unit", "unit_in"), ("frame_size", "size_in")]
    resized = [("image", "image_in"), ("frame_size", "size_in")]
    model = onnx.compose.merge_models(
        model,
        enlarged() if whole.kind == "image" else finish(dims.bins),
        io_map=resized if whole.kind == "image" else applied,
        outputs=["stylized", "grid"],
    )
    _order(model.graph.input, ["frame", "style_code", "r"])
    _order(model.graph.output, ["stylized", "grid"])
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
    part = onnx.utils.Extractor(whole).extract_model(["frame", "style_code"], ["grid"])
    metadata = {entry.key.removeprefix("mvstylizer."): entry.value for entry in whole.metadata_props}
    part.ir_version = IR_VERSION
    save_model(part, path, "fp32", metadata)  # leaves the weights as they are


def _thumbs(stylizer: Adapter) -> dict[str, Tensor]:
    """Return an example of the thumbnail by its name, empty if the stylizer takes none."""
    return {"thumb": torch.rand(1, 3, THUMBNAIL, THUMBNAIL)} if stylizer.takes_thumbnail else {}


def _content(cell: int) -> Tensor:
    """Return example content of several cells, near 96×128."""
    return torch.rand(1, 3, max(3, 96 // cell) * cell, max(4, 128 // cell) * cell)


def _trace(
    core: nn.Module,
    example: tuple[Tensor, ...],
    inputs: list[str],
    outputs: list[str],
    *,
    multiple: int,
    at_least: int,
) -> onnx.ModelProto:
    """Trace a module whose first input is 1×3×h×w with h and w any multiples of `multiple`."""
    height, width = (torch.export.Dim(name, min=at_least, max=8192) for name in ("cells_high", "cells_wide"))
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

    Raises:
        StylizerModuleError: The module cannot be traced, or has an operator without an ONNX form.
    """
    with warnings.catch_warnings(), _quiet("torch.onnx", "onnxscript", "torch.export"):
        warnings.simplefilter("ignore")
        try:
            exported = torch.export.export(core.eval(), example, dynamic_shapes=dynamic_shapes, strict=False)
            _with_float_bounds(exported)
            program = torch.onnx.export(
                exported,
                (),
                input_names=inputs,
                output_names=outputs,
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
                optimize=False,  # it drops constants of Clip nodes; runtimes optimize graphs themselves
            )
        except Exception as err:  # of many kinds, from tracing to translation
            module = core.stylizer.module if isinstance(core, MapCore | StyleCore) else core
            raise untraceable(err, module) from err
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    model.ir_version = IR_VERSION
    del model.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    return _with_plain_casts(model)


def _with_float_bounds(program: torch.export.ExportedProgram) -> None:
    """Turn whole bounds of clamps into floats: the translation finds no operator for a mixture of both."""
    for node in program.graph.nodes:
        if node.op == "call_function" and node.target is torch.ops.aten.clamp.default:
            bounds = [float(each) if isinstance(each, int) else each for each in node.args[1:]]
            node.args = (node.args[0], *bounds)
            node.kwargs = {
                name: float(each) if isinstance(each, int) else each for name, each in node.kwargs.items()
            }


def _with_plain_casts(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace each CastLike by a Cast: ONNX Runtime cannot fold the former and warns of every one."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = [*graph.value_info, *graph.input, *graph.output]
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    types |= {initializer.name: initializer.data_type for initializer in graph.initializer}
    for node in model.graph.node:
        if node.op_type == "CastLike":
            node.op_type = "Cast"
            node.attribute.append(onnx.helper.make_attribute("to", types[node.input.pop()]))
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
