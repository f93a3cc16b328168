"""``export --check``: verify a bundle's hashes and results, and time it on this machine.

It needs neither torch nor tensorflow: expected values come from the bundle's golden vectors and the formulas.

Example:
    for row in check_bundle(Path("models/mine")):
        print(row.path, row.parity.get("max"), row.latency.get("median_ms"))
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from export.parity.golden import check_golden
from export.parity.kernels import KERNELS, Kernel, sized_kernels
from export.parity.latency import kernel_latency, lite_latency, onnx_latency
from export.runtimes import gpu, hexagon
from mvstylizer.bundle import LITE_ROLES, Bundle, BundleError, FileSpec, load_bundle

_SIZED = re.compile(r"(?P<kind>warp_accel|warp_gpu|transfer_accel)_(?P<width>\d+)x(?P<height>\d+)")

Reporter = Callable[[str], None]


@dataclass(frozen=True)
class Checked:
    """Result for one file.

    Attributes:
        path: Its name.
        parity: Its parity row on this machine; empty if it is not a model or cannot run here.
        latency: Its latency row on this machine.
        recorded: Its latency row in the manifest.
        note: Why it was not run; empty if it was.
    """

    path: str
    parity: dict[str, Any]
    latency: dict[str, Any]
    recorded: dict[str, Any]
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON types."""
        return asdict(self)


def check_bundle(folder: Path, *, report: Reporter = lambda _: None) -> list[Checked]:
    """Verify a bundle on this machine.

    Args:
        folder: The bundle.
        report: Called with one line per file.

    Returns:
        One result per file.

    Raises:
        BundleError: A file is missing, its hash differs, or there are no golden vectors for it.
        ParityError: A file computes something else; names the file.
        LaneError: A runtime rejects a file.
    """
    bundle = load_bundle(folder)
    report(f"{len(bundle.files)} files match their hashes in the manifest")
    rows = []
    for spec in bundle.files:
        row = _check_file(bundle, spec)
        rows.append(row)
        report(_line(row))
    for lane in (gpu, hexagon):
        if reason := lane.why_missing():
            report(f"{lane.LANE}: not checked ({reason})")
    return rows


def _check_file(bundle: Bundle, spec: FileSpec) -> Checked:
    if spec.format not in ("onnx", "tflite"):
        return Checked(spec.path, {}, {}, spec.latency)
    path = bundle.file(spec.role)
    if spec.format == "onnx":
        return Checked(spec.path, check_golden(bundle, spec.role), onnx_latency(path, spec), spec.latency)
    content = path.read_bytes()
    if spec.role in LITE_ROLES:
        latency = lite_latency(content, spec)
        return Checked(spec.path, check_golden(bundle, spec.role), latency, spec.latency)
    if spec.role in KERNELS:
        latency = kernel_latency(content, KERNELS[spec.role])
        return Checked(spec.path, check_golden(bundle, spec.role), latency, spec.latency)
    kernel = sized_kernel(bundle, spec)
    if not kernel.cpu and (reason := gpu.why_missing()):
        return Checked(spec.path, {}, {}, spec.latency, f"not run: {reason}")
    return Checked(spec.path, kernel.check(content), kernel_latency(content, kernel), spec.latency)


def sized_kernel(bundle: Bundle, spec: FileSpec) -> Kernel:
    """Return the kernel of a sized file in a bundle.

    Raises:
        BundleError: This version does not know the role.
    """
    match = _SIZED.fullmatch(spec.role)
    if match is None:
        raise BundleError(
            f"{bundle.path / spec.path} has a role that this version does not know: {spec.role}",
            "Check the bundle with the version of mvstylizer that wrote it",
        )
    size = int(match["width"]), int(match["height"])
    _, rows, columns, channels = next((t.shape for t in spec.inputs if t.name == "cells"), (1, 1, 1, 12))
    return next(
        k for k in sized_kernels([size], lambda *_: (columns, rows, channels // 12)) if k.role == spec.role
    )


def _line(row: Checked) -> str:
    return f"{row.path}: " + ", ".join(_parts(row))


def _parts(row: Checked) -> Iterator[str]:
    if row.note:
        yield row.note
    elif not row.parity:
        yield "hash matches"
    else:
        lanes = (f"{lane} {found['max']:.4g}" for lane, found in row.parity["lanes"].items())
        yield f"differs from its reference by at most {row.parity['max']:.4g} ({', '.join(lanes)})"
    if row.latency:
        recorded = f", {row.recorded['median_ms']:g} ms at export" if row.recorded else ""
        yield f"{row.latency['median_ms']:g} ms here{recorded}"
