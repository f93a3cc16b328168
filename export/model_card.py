"""The bundle's model card: Markdown written from ``model.json``, for people."""

from __future__ import annotations

from typing import Any

from mvstylizer.bundle import Bundle, FileSpec, TensorSpec

CARD_NAME = "MODEL_CARD.md"
_TENSOR_HEAD = ("file", "tensor", "type", "shape", "layout", "range")


def card(bundle: Bundle) -> str:
    """Return the card of a bundle.

    Args:
        bundle: Its files but the card; the card cannot hold its own hash.
    """
    models = [spec for spec in bundle.files if spec.inputs]
    parts = [
        f"# {bundle.name}, version {bundle.version}",
        "A frame and the code of a style photo in, the frame in that style out, or the grid of affine color"
        " maps that does it; and the kernels with which a phone makes the frames between.",
        _source(bundle),
        "## Files\n\n" + _table(("file", "kB", "parameters", "MACs", "ms"), map(_file_row, models)),
        "MACs are of one run at the size in brackets; ms is the median of a few runs on one thread of"
        f" {bundle.machine.get('cpu', 'the exporting machine')}, a hint and no benchmark.",
        "## Tensors\n\n" + _table(_TENSOR_HEAD, _tensor_rows(models)),
        "## Checked against its reference\n\nThe reference is PyTorch for the networks, and the formula in"
        " float64 for the kernels. Units: gray levels (style codes and the ONNX files' maps: unit range;"
        " key_frame: the score's).\n\n"
        + _table(("file", "max", "mean", "p99.9", "PSNR, dB", "on"), map(_parity_row, models)),
        "## Use and limits\n\nFor photographs and camera footage, and for styles that are photographs. It"
        " moves color and light; it paints no strokes and adds no objects. Styles whose colors lie far from"
        " the content's can tint areas. Key frames are stylized one by one.",
        "Verify and time it anywhere: `mvstylizer export --check FOLDER`.",
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _source(bundle: Bundle) -> str:
    source, network = bundle.source, bundle.network
    sizes = (f"{key} {value}" for key, value in network.items() if key != "precision")
    rows = [
        f"- From `{source.get('checkpoint')}`, step {source.get('step')}, sha256 `{source.get('sha256')}`.",
        f"- Weights in the network's files: {network.get('precision', 'fp16')}; arithmetic: fp32.",
        f"- Network: {', '.join(sizes)}.",
        "- Converters: " + ", ".join(f"{name} {version}" for name, version in bundle.tools.items()) + ".",
    ]
    return "\n".join(rows)


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


def _table(head: tuple[str, ...], rows: Any) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
