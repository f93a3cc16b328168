"""Compile a bundle's kernels ahead of time for Snapdragon's Hexagon, with LiteRT's Qualcomm plugin.

A phone then loads a ready graph instead of preparing it at every start. A compiled file is for one chip, so
it is stored outside the bundle. Hexagon's float16 results are checked first, on this machine, with Qualcomm's
library for the host (`export.runtimes.hexagon`). A kernel that fails this check or cannot be checked is not
compiled, and one that the compiler accepts only in part is refused.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

from export.parity.kernels import Kernel
from export.runtimes import hexagon
from export.sizes import WidthHeight
from export.verify import sized_kernel
from mvstylizer.bundle import Bundle, load_bundle
from mvstylizer.errors import MVStylizerError

SDK = "ai_edge_litert_sdk_qualcomm"
COMPILER = "libQnnHtp.so"
SOCS = ("SM8450", "SM8475", "SM8550", "SM8650", "SM8750", "SM8845", "SM8850")
"""Chips whose Hexagon computes in float16 and that the plugin compiles for (it fails for the SM8350)."""

Reporter = Callable[[str], None]


class SnapdragonError(MVStylizerError):
    """A kernel cannot be compiled for a Snapdragon on this machine, or must not be."""


@dataclass(frozen=True)
class Compiled:
    """A compiled kernel.

    Attributes:
        path: The file.
        soc: The chip, for example ``SM8650``.
        role: The kernel's role in the bundle.
        bytes: Size of the file.
        operators: Number of operations, all compiled.
        max_difference: Largest difference of Hexagon's result from the formula, in gray levels.
    """

    path: str
    soc: str
    role: str
    bytes: int
    operators: int
    max_difference: float

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON types."""
        return asdict(self)


def why_missing() -> str | None:
    """Return why this machine cannot compile, None where it can.

    The SDK's package installs without an error even if its download failed; it is empty then.
    """
    if find_spec("onnxruntime_qnn") is None or find_spec(SDK) is None:
        return "no Snapdragon compiler: pip install 'mvstylizer[snapdragon]'"
    try:
        libraries = import_module(SDK).path_to_sdk_libs()
    except NotImplementedError:
        return "Qualcomm's compiler runs only on Linux on x86-64"
    if libraries is None or not (Path(libraries) / COMPILER).is_file():
        return (
            "Qualcomm's SDK is missing: ai-edge-litert-sdk-qualcomm could not download it; reinstall that "
            "package with access to softwarecenter.qualcomm.com"
        )
    return None


def compile_bundle(
    folder: Path, out: Path, socs: Sequence[str], *, report: Reporter = lambda _: None
) -> list[Compiled]:
    """Compile the accelerator kernels of a bundle.

    Args:
        folder: The bundle.
        out: Folder for the files, ``ROLE_SOC.tflite``.
        socs: Chips, from `SOCS`.
        report: Called with one line per kernel.

    Raises:
        BundleError: The bundle is incomplete or damaged.
        SnapdragonError: No compiler is installed, a chip is unknown, no kernel can be checked, or the
            compiler accepts only part of one.
        ParityError: Hexagon computes a kernel wrong.
    """
    if reason := why_missing():
        raise SnapdragonError(reason[0].upper() + reason[1:])
    if unknown := [soc for soc in socs if soc not in SOCS]:
        raise SnapdragonError(f"{unknown[0]} is not one of {', '.join(SOCS)}")
    bundle = load_bundle(folder)
    compiled = []
    for kernel in _kernels(bundle, report):
        content = bundle.file(kernel.role).read_bytes()
        difference = proven(kernel, content)
        for soc in socs:
            target = out / f"{kernel.role}_{soc}.tflite"
            operators = _compile(content, soc, target)
            row = Compiled(
                str(target), soc, kernel.role, target.stat().st_size, operators, round(difference, 4)
            )
            report(
                f"{target.name}: {row.bytes / 1e3:.0f} kB, all {operators} operations on Hexagon, "
                f"differs from its formula by at most {difference:.2g} gray levels"
            )
            compiled.append(row)
    return compiled


def proven(kernel: Kernel, content: bytes) -> float:
    """Check a kernel on all lanes and return Hexagon's largest difference from the formula, in gray levels.

    Raises:
        SnapdragonError: Hexagon's lane cannot run on this machine.
        ParityError: A lane computes something else.
    """
    lane = kernel.check(content)["lanes"].get(hexagon.LANE)
    if lane is None:
        raise SnapdragonError(f"{kernel.role} is not compiled: its Hexagon numerics cannot be checked here")
    return float(lane["max"])


def _kernels(bundle: Bundle, report: Reporter) -> list[Kernel]:
    sized = [spec for spec in bundle.files if spec.format == "tflite" and "_accel_" in spec.role]
    kernels = [kernel for spec in sized if "HTP" in (kernel := sized_kernel(bundle, spec)).delegates]
    small = [kernel for kernel in kernels if kernel.size and _pixels(kernel.size) <= hexagon.MAX_PIXELS]
    for kernel in kernels:
        if kernel not in small:
            report(f"{kernel.role}: skipped, too large to check its Hexagon numerics on the host")
    if not small:
        raise SnapdragonError(
            f"{bundle.path} has no kernel of at most {hexagon.MAX_PIXELS} pixels, which can be checked",
            "Export a bundle with --sizes 512x256",
        )
    return small


def _pixels(size: WidthHeight) -> int:
    return size[0] * size[1]


def _compile(content: bytes, soc: str, target: Path) -> int:
    """Compile one file for one chip and return its number of operations."""
    from ai_edge_litert.aot.aot_compile import aot_compile
    from ai_edge_litert.aot.core.aot_types import Model
    from ai_edge_litert.aot.vendors.qualcomm.target import SocModel
    from ai_edge_litert.aot.vendors.qualcomm.target import Target as Chip

    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "kernel.tflite"
        source.write_bytes(content)
        model, chip = Model.create_from_path(source), Chip(SocModel(soc))
        try:
            with redirect_stderr(StringIO()):  # short-lived progress bars
                found = aot_compile(model, output_dir=name, target=chip, keep_going=False)
        except (ValueError, OSError) as err:
            raise SnapdragonError(f"LiteRT cannot compile for {soc}: {err}") from err
        (model,) = found.models
        parts = model.partition_stats.subgraph_stats if model.partition_stats else []
        whole = len(parts) == 1 and parts[0].num_ops_offloaded == parts[0].num_total_ops
        if not whole or parts[0].num_partitions_offloaded != 1:
            raise SnapdragonError(f"The compiler accepts only part of {target.stem}: {model.partition_stats}")
        _publish(model.path.read_bytes(), target)
        return int(parts[0].num_total_ops)


def _publish(content: bytes, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        part.write_bytes(content)
        part.replace(target)
    except OSError as err:
        raise SnapdragonError(f"{target} cannot be written: {err.strerror}", "Name another --out") from err
