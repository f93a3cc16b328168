"""``export --diff A B``: two bundles side by side: networks, files, graphs, sizes, parity and latency.

It needs neither torch nor tensorflow. Figures are those of the manifests; `export.verify` measures again.

Example:
    for row in diff_bundles(Path("models/old"), Path("models/new")).files:
        print(row.role, row.operators)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx

from export.runtimes.tflite_graph import Graph
from mvstylizer.bundle import Bundle, FileSpec, load_bundle

Pair = tuple[Any, Any]
"""A value of the first bundle and of the second; None where there is none."""


@dataclass(frozen=True)
class FileDiff:
    """One file of either bundle.

    Attributes:
        role: Its role.
        same: Whether both bundles have the same bytes.
        bytes: Sizes.
        parity: Largest differences from the reference.
        latency_ms: Median times, each at its export.
        parameters: Numbers of floating-point weights.
        macs: Multiply-accumulates.
        operators: Operators whose number differs, with both numbers.
        tensors: Inputs and outputs that differ, by name, each as type and shape.
    """

    role: str
    same: bool
    bytes: Pair
    parity: Pair
    latency_ms: Pair
    parameters: Pair
    macs: Pair
    operators: dict[str, Pair]
    tensors: dict[str, Pair]


@dataclass(frozen=True)
class BundleDiff:
    """Two bundles.

    Attributes:
        bundle: What differs of names, versions, origins, networks (with precision) and converters.
        files: One row per role, in the order of the first bundle.
    """

    bundle: dict[str, Pair]
    files: list[FileDiff]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON types."""
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """Yield the comparison as text."""
        for name, (before, after) in self.bundle.items():
            yield f"{name}: {_shown(before)} → {_shown(after)}"
        for row in self.files:
            yield f"{row.role}: " + ", ".join(_parts(row))


def diff_bundles(first: Path, second: Path) -> BundleDiff:
    """Compare two bundles.

    Raises:
        BundleError: One is missing or damaged.
    """
    bundles = load_bundle(first), load_bundle(second)
    facts = tuple(_facts(bundle) for bundle in bundles)
    roles = dict.fromkeys(spec.role for bundle in bundles for spec in bundle.files)
    return BundleDiff(_differing(*facts), [_file(role, *bundles) for role in roles])


def _facts(bundle: Bundle) -> dict[str, Any]:
    groups = {"source": bundle.source, "network": bundle.network, "tools": bundle.tools}
    nested = {f"{group}.{key}": value for group, row in groups.items() for key, value in row.items()}
    return {"name": bundle.name, "version": bundle.version, "kind": bundle.kind, **nested}


def _file(role: str, first: Bundle, second: Bundle) -> FileDiff:
    specs = [_spec(bundle, role) for bundle in (first, second)]
    both = [(bundle, spec) for bundle, spec in zip((first, second), specs, strict=True)]
    same = specs[0] is not None and specs[1] is not None and specs[0].sha256 == specs[1].sha256
    counts = [Counter[str]() if same else _operators(bundle, spec) for bundle, spec in both]
    return FileDiff(
        role,
        same,
        _pair(specs, lambda spec: spec.bytes),
        _pair(specs, lambda spec: spec.parity.get("max")),
        _pair(specs, lambda spec: spec.latency.get("median_ms")),
        _pair(specs, lambda spec: spec.cost.get("parameters")),
        _pair(specs, lambda spec: spec.cost.get("macs")),
        _differing(*counts) if all(specs) else {},
        _differing(*map(_tensors, specs)) if all(specs) else {},
    )


def _spec(bundle: Bundle, role: str) -> FileSpec | None:
    return next((spec for spec in bundle.files if spec.role == role), None)


def _pair(specs: list[FileSpec | None], value: Any) -> Pair:
    first, second = (None if spec is None else value(spec) for spec in specs)
    return first, second


def _operators(bundle: Bundle, spec: FileSpec | None) -> Counter[str]:
    if spec is None:
        return Counter()
    path = bundle.path / spec.path
    if spec.format == "onnx":
        return Counter(node.op_type for node in onnx.load(path).graph.node)
    if spec.format == "tflite":
        return Counter(node.operator for node in Graph(path.read_bytes()).nodes)
    return Counter()


def _tensors(spec: FileSpec | None) -> dict[str, Any]:
    tensors = (*spec.inputs, *spec.outputs) if spec else ()
    return {each.name: f"{each.dtype} {list(each.shape)}" for each in tensors}


def _differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Pair]:
    names = dict.fromkeys((*first, *second))
    pairs = {name: (first.get(name), second.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _parts(row: FileDiff) -> Iterator[str]:
    if row.bytes[0] is None or row.bytes[1] is None:
        yield f"only in the {'second' if row.bytes[0] is None else 'first'} bundle"
        return
    if row.same:
        yield f"the same, {row.bytes[0] / 1e3:.0f} kB"
    else:
        yield f"{row.bytes[0] / 1e3:.0f} → {row.bytes[1] / 1e3:.0f} kB"
    figures = (("parity", row.parity, ""), ("latency", row.latency_ms, " ms"))
    for name, (before, after), unit in figures:
        if before is not None or after is not None:
            yield f"{name} {_shown(before)} → {_shown(after)}{unit}"
    if row.macs[0] != row.macs[1]:
        yield f"MACs {_shown(row.macs[0])} → {_shown(row.macs[1])}"
    for name, (before, after) in (*row.tensors.items(), *row.operators.items()):
        yield f"{name} {_shown(before or 0)} → {_shown(after or 0)}"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return f"{text[:12]}…" if len(text) == 64 else text  # a hash
