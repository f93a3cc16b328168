"""The ONNX files: style encoder, stylizer, and the stylizer's map alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from safetensors.numpy import load, save

from export.cache import Cache
from export.cost import style_encoder_macs, stylizer_macs
from export.errors import GraphError
from export.onnx_models.contract import contract
from export.onnx_models.file import parameters, save_model, single_precision
from export.onnx_models.graphs import write_style_encoder, write_stylizer, write_stylizer_map
from export.onnx_models.weight_swap import TRACED, BaseBundle, Graphs, check_complete, refill, weights_of
from export.parity.latency import onnx_latency
from export.parity.onnx import check_style_encoder, check_stylizer, check_stylizer_map
from export.precision_judge import Judge, Photos, PrecisionError
from export.quantization import Quantization, quantized
from export.runtimes.difference import rounded
from export.writers.draft import Draft
from mvstylizer.bundle import file_spec
from training.stylizer import StylizerNetwork

MIN_GAIN: Final = 0.9  # time of int8, of that of fp16, from which it is worth its losses
_WEIGHTS: Final = "weights.safetensors"


def write_onnx(draft: Draft, source: dict[str, Any], base: BaseBundle | None) -> None:
    """Write and check the ONNX files.

    Args:
        draft: The bundle.
        source: Origin of the checkpoint, for the files' metadata.
        base: A bundle of the same architecture whose graphs take the new weights; None traces PyTorch.

    Raises:
        ParityError: A file does not compute what PyTorch computes.
        GraphError: A traced graph is not valid, or not clean.
    """
    precision = draft.network["precision"]
    metadata = {**{f"source.{key}": str(value) for key, value in source.items()}, "precision": precision}
    encoder, stylizer, stylizer_map = (
        draft.folder / f"{role}.onnx" for role in ("style_encoder", "stylizer", "stylizer_map")
    )
    draft.begin(encoder.name)
    key = Cache.key("graphs", sorted(draft.network.items()))
    graphs = base.graphs() if base is not None else _known_graphs(draft, key)
    if graphs is None or not _swap_weights(draft, graphs, metadata):
        write_style_encoder(draft.reference.stylizer, encoder, precision, metadata)
        write_stylizer(draft.reference.stylizer, stylizer, precision, metadata)
        _keep_graphs(draft, key)
    if draft.quantization is not None:
        _quantize(draft, draft.quantization, metadata)
    write_stylizer_map(stylizer, stylizer_map)
    encoder_macs, map_macs = _macs(draft, base)
    _add(draft, encoder, check_style_encoder(encoder, draft.reference), encoder_macs, base)
    draft.begin(stylizer.name)
    _add(draft, stylizer, check_stylizer(stylizer, draft.reference, draft.exact), map_macs, base)
    draft.begin(stylizer_map.name)
    _add(draft, stylizer_map, check_stylizer_map(stylizer_map, draft.reference, draft.exact), map_macs, base)


def _swap_weights(draft: Draft, graphs: Graphs, metadata: dict[str, str]) -> bool:
    """Write the traced files with known graphs; return False where a weight is not in them."""
    after = weights_of(draft.reference.stylizer)
    found: set[str] = set()
    try:
        for role, content in graphs.files.items():
            found |= refill(content, draft.folder / f"{role}.onnx", graphs.weights, after, metadata)
        check_complete(found, after)
    except GraphError as err:
        draft.report(f"Tracing again: {err}")
        return False
    return True


def _quantize(draft: Draft, wanted: Quantization, metadata: dict[str, str]) -> None:
    """Replace ``stylizer.onnx`` by one with eight-bit convolutions if it meets the bound; list precisions.

    Raises:
        PrecisionError: It misses the bound, and is required.
    """
    path = draft.folder / "stylizer.onnx"
    draft.begin(f"{path.name}: calibration")
    content = single_precision(path)
    photos = Photos(wanted.calibrate, draft.folder / "style_encoder.onnx")
    judge = Judge(content, photos)
    rows = [judge.row("fp32", content), judge.row("fp16", path.read_bytes())]
    try:
        made, row = quantized(content, photos, judge, wanted.min_psnr)
        rows.append(row)
        if wanted.required or row.ms_1 < MIN_GAIN * rows[1].ms_1:
            save_model(onnx.load_from_string(made), path, "fp16", {**metadata, "precision": "int8"})
            draft.network["precision"] = "int8"
        else:
            draft.report("int8 is not faster here: keeping fp16")
    except PrecisionError as err:
        if wanted.required:
            raise
        draft.report(f"Keeping fp16: {err.message}")
    draft.network["precisions"] = [each.as_dict() for each in rows]
    for each in rows:
        draft.report(str(each))


def _known_graphs(draft: Draft, key: str) -> Graphs | None:
    """Return the graphs of an earlier export of the same architecture and precision."""
    files = draft.cache.get(key) if draft.cache is not None and _has_known_code(draft) else None
    if files is None:
        return None
    weights = load(files.pop(_WEIGHTS))
    return Graphs({Path(name).stem: content for name, content in files.items()}, weights)


def _has_known_code(draft: Draft) -> bool:
    """Return whether the cache's keys cover the stylizer's code: they do not cover a user's."""
    return isinstance(draft.reference.stylizer.module, StylizerNetwork)


def _keep_graphs(draft: Draft, key: str) -> None:
    if draft.cache is not None and _has_known_code(draft):
        files = {f"{role}.onnx": (draft.folder / f"{role}.onnx").read_bytes() for role in TRACED}
        weights = {name: np.array(value) for name, value in weights_of(draft.reference.stylizer).items()}
        draft.cache.put(key, {**files, _WEIGHTS: save(weights)})


def _macs(draft: Draft, base: BaseBundle | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the cost of one style code and of one map, which depends on the architecture alone."""
    if base is None:
        return style_encoder_macs(draft.reference.stylizer), stylizer_macs(draft.reference.stylizer)
    encoder, stylizer = (base.bundle.spec(role).cost for role in TRACED)
    return dict(encoder), dict(stylizer)


def _add(
    draft: Draft, path: Path, parity: dict[str, Any], macs: dict[str, Any], base: BaseBundle | None
) -> None:
    """Add a file; one with the base bundle's architecture has its latency, as the copied kernels do."""
    inputs, outputs = contract(path.stem, draft.network["style_code"], draft.network["bins"])
    spec = file_spec(
        draft.folder,
        path.stem,
        path.name,
        inputs,
        outputs,
        parity=rounded(parity),
        cost={"parameters": parameters(path), **macs},
    )
    latency = onnx_latency(path, spec) if base is None else dict(base.bundle.spec(path.stem).latency)
    draft.add(replace(spec, latency=latency))
