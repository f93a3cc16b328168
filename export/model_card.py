"""The model card of a bundle: Markdown generated from ``model.json``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from mvstylizer.bundle import Bundle, FileSpec, TensorSpec

CARD_NAME = "MODEL_CARD.md"

_FILE_HEAD = ("file", "kB", "parameters", "MACs", "ms")
_TENSOR_HEAD = ("file", "tensor", "type", "shape", "layout", "range")
_PRECISION_HEAD = (
    "precision",
    "kB",
    "ms, 1 / 2 threads",
    "max",
    "p99.9",
    "PSNR, dB",
    "in floating point",
)
_PARITY_HEAD = ("file", "max", "mean", "p99.9", "PSNR, dB", "runtimes")
_SUMMARY: Final = (
    "Applies the look of a style photo to photos and video frames. The style encoder turns the photo into a"
    " style code. The stylizer turns a frame and the code into the stylized frame, or into the bilateral grid"
    " of color transforms that produces it. The kernels interpolate the frames between key frames on a phone."
)
_LIMITS: Final = (
    "For photographs and camera footage, with photographs as styles. The model changes color and light; it"
    " does not paint strokes or add objects. Styles whose colors are far from the content's can tint areas."
    " Key frames are stylized independently."
)


def card(bundle: Bundle) -> str:
    """Return the card of a bundle.

    Args:
        bundle: Lists every file except the card itself, which cannot contain its own hash.
    """
    models = [spec for spec in bundle.files if spec.inputs]
    cpu = bundle.machine.get("cpu", "the exporting machine")
    parts = (
        f"# {bundle.name}, version {bundle.version}",
        _SUMMARY,
        _source(bundle),
        "## Files",
        _table(_FILE_HEAD, map(_file_row, models)),
        "MACs are multiply-accumulates of one run at the size in parentheses. Times are medians of a few runs"
        f" on one thread of {cpu}: a hint, not a benchmark.",
        *_precisions(bundle),
        "## Tensors",
        "Inputs are marked →, outputs ←.",
        _table(_TENSOR_HEAD, _tensor_rows(models)),
        "## Differences from the reference",
        "The reference is PyTorch for the networks and the formula in float64 for the kernels. Units are gray"
        " levels; style codes and the maps of ONNX files are in the unit range, and key_frame in units of its"
        " score.",
        _table(_PARITY_HEAD, map(_parity_row, models)),
        "## Use and limits",
        _LIMITS,
        "Verify and time the bundle on any machine: `mvstylizer export --check FOLDER`.",
    )
    return "\n\n".join(parts) + "\n"


def _source(bundle: Bundle) -> str:
    source, network = bundle.source, bundle.network
    apart = ("precision", "precisions")
    sizes = (f"{key} {value}" for key, value in network.items() if key not in apart)
    rows = (
        f"- Checkpoint: `{source.get('checkpoint')}`, step {source.get('step')},"
        f" sha256 `{source.get('sha256')}`.",
        f"- Weights of the network: {network.get('precision', 'fp16')}; arithmetic: fp32.",
        f"- Network: {', '.join(sizes)}.",
        "- Converters: " + ", ".join(f"{name} {version}" for name, version in bundle.tools.items()) + ".",
    )
    return "\n".join(rows)


def _precisions(bundle: Bundle) -> Iterator[str]:
    """Yield the section on the stylizer's precisions, if they were compared."""
    rows = bundle.network.get("precisions", [])
    if not rows:
        return
    yield "## Precisions of the stylizer"
    yield _table(_PRECISION_HEAD, map(_precision_row, rows))
    yield (
        "Differences from fp32 are gray levels of stylized photos that did not calibrate. Layers in floating"
        " point are those that cost most in eight bits."
    )


def _precision_row(row: dict[str, Any]) -> tuple[str, ...]:
    times = f"{row['ms_1']:g} / {row['ms_2']:g}"
    figures = (f"{row[name]:g}" for name in ("max", "p999", "psnr"))
    kept = ", ".join(f"`{name}`" for name in row["float_layers"])
    return row["precision"], f"{row['bytes'] / 1e3:.0f}", times, *figures, kept


def _file_row(spec: FileSpec) -> tuple[str, ...]:
    cost, latency = spec.cost, spec.latency
    macs = f"{cost['macs'] / 1e9:.2f} G ({cost['macs_size']})" if "macs" in cost else ""
    time = f"{latency['median_ms']:g} ({latency['size']})" if latency else ""
    return f"`{spec.path}`", f"{spec.bytes / 1e3:.0f}", f"{cost.get('parameters', 0):,}", macs, time


def _tensor_rows(models: list[FileSpec]) -> list[tuple[str, ...]]:
    def row(spec: FileSpec, arrow: str, tensor: TensorSpec) -> tuple[str, ...]:
        shape = "×".join("?" if n < 0 else str(n) for n in tensor.shape)
        return f"`{spec.path}`", f"{arrow} `{tensor.name}`", tensor.dtype, shape, tensor.layout, tensor.range

    return [
        row(spec, arrow, tensor)
        for spec in models
        for arrow, tensors in (("→", spec.inputs), ("←", spec.outputs))
        for tensor in tensors
    ]


def _parity_row(spec: FileSpec) -> tuple[str, ...]:
    parity: dict[str, Any] = spec.parity
    figures = (f"{parity[name]:g}" for name in ("max", "mean", "p999", "psnr"))
    return f"`{spec.path}`", *figures, ", ".join(parity["lanes"])


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
