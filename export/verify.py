"""``export --check``: verify a bundle's hashes and results, and time it on this machine.

It needs neither torch nor tensorflow: expected values come from the bundle's golden vectors and the formulas.
Anyone can write a manifest that matches a damaged model, and such a model can crash its runtime, so the files
run in a child process with limits.

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

from export.errors import GraphError
from export.parity.golden import check_golden
from export.parity.kernels import KERNELS, Kernel, sized_kernels
from export.parity.latency import kernel_latency, lite_latency, onnx_latency
from export.runtimes import gpu, hexagon
from export.runtimes.cpu import LaneError
from export.runtimes.difference import ParityError
from mvstylizer.bundle import LITE_ROLES, Bundle, BundleError, FileSpec, load_bundle
from mvstylizer.errors import MVStylizerError, printable
from mvstylizer.limited_process import LimitedProcessError, reports

SILENCE_S = 600.0
_WORKER = "export.verify_worker"
_DAMAGED = "Do not use this bundle: copy or export it again"
_ERRORS: dict[str, type[MVStylizerError]] = {
    each.__name__: each for each in (BundleError, GraphError, LaneError, ParityError)
}
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


def check_bundle(
    folder: Path, *, report: Reporter = lambda _: None, silence_s: float = SILENCE_S
) -> list[Checked]:
    """Verify a bundle on this machine.

    Args:
        folder: The bundle.
        report: Called with one line per file.
        silence_s: Time for one file, in seconds.

    Returns:
        One result per file.

    Raises:
        BundleError: A file is missing, its hash differs, there are no golden vectors for it, or it crashes
            its runtime, takes too long or too much memory; names the file.
        ParityError: A file computes something else; names the file.
        LaneError: A runtime rejects a file.
    """
    bundle = load_bundle(folder)
    report(f"{len(bundle.files)} files match their hashes in the manifest")
    rows: list[Checked] = []
    try:
        for event in reports(_WORKER, [str(folder.resolve())], silence_s=silence_s):
            if "error" in event:
                error = event["error"]
                raise _ERRORS.get(error["type"], BundleError)(error["message"], error["hint"])
            rows.append(Checked(**event))
            report(_line(rows[-1]))
    except LimitedProcessError as err:
        path = bundle.path / bundle.files[min(len(rows), len(bundle.files) - 1)].path
        raise BundleError(f"{path} {err.message}", _DAMAGED) from err
    for lane in (gpu, hexagon):
        if reason := lane.why_missing():
            report(f"{lane.LANE}: not checked ({reason})")
    return rows


def write_checks(folder: Path, write: Callable[[dict[str, Any]], None]) -> None:
    """Check the files of a bundle in this process, for the child of `check_bundle`.

    Args:
        folder: The bundle.
        write: Called with the result of each file, and with the first error, as plain JSON types.
    """
    bundle = load_bundle(folder)
    for spec in bundle.files:
        try:
            write(_check_file(bundle, spec).as_dict())
        except MVStylizerError as err:
            message = err.message if spec.path in err.message else f"{bundle.path / spec.path}: {err.message}"
            write({"error": {"type": type(err).__name__, "message": message, "hint": err.hint}})
            return
        except Exception as err:  # runtimes and parsers raise anything on damaged files
            why = printable(f"{type(err).__name__}: {err}", 200)
            message = f"{bundle.path / spec.path} cannot be checked ({why})"
            write({"error": {"type": "BundleError", "message": message, "hint": _DAMAGED}})
            return


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
