"""Checkpoint → bundle: write every file, compare each with its reference, describe all in ``model.json``.

The bundle is built beside its target and renamed when the last comparison has passed: a failed export leaves
nothing behind and does not touch a bundle that was there.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from export.cost import style_encoder_macs, stylizer_macs
from export.errors import GraphError
from export.lite_models import check_static, why_left_out, write_lite, write_static_map
from export.machine import machine, tools
from export.model_card import CARD_NAME, card
from export.onnx_models.contract import ROLES, contract
from export.onnx_models.file import Precision, parameters
from export.onnx_models.graphs import write_style_encoder, write_stylizer, write_stylizer_map
from export.onnx_models.weight_swap import BaseBundle, check_complete, refill, weights_of
from export.parity.golden import GOLDEN_NAME, write_golden
from export.parity.kernels import KERNELS, Kernel, sized_kernels
from export.parity.latency import kernel_latency, onnx_latency
from export.parity.onnx import check_style_encoder, check_stylizer, check_stylizer_map, golden_vectors
from export.runtimes import gpu, hexagon
from export.runtimes.delegate_lint import takes
from export.runtimes.difference import rounded
from export.sizes import Size
from mvstylizer.bundle import (
    MANIFEST_NAME,
    Bundle,
    BundleError,
    FileSpec,
    file_spec,
    sha256_of,
    write_manifest,
)
from training.checkpoint import load_checkpoint
from training.stylizer import StylizerNetwork, network_size

SIZES: tuple[Size, ...] = ((512, 256), (768, 384), (1024, 512), (1920, 1080))
"""Width and height of the frames that accelerators get kernels for: those of the paper."""

Report = Callable[[str], None]


def export_bundle(
    checkpoint: Path,
    out: Path,
    *,
    version: int = 1,
    ridge: float | None = None,
    precision: Precision = "fp16",
    sizes: Sequence[Size] = SIZES,
    static_sizes: Sequence[Size] = (),
    base_bundle: BaseBundle | None = None,
    report: Report = lambda _: None,
) -> Bundle:
    """Export a checkpoint.

    Args:
        checkpoint: What `mvstylizer train` wrote.
        out: The bundle's folder; a bundle that is there is replaced, anything else is refused.
        version: Release number, from 1.
        ridge: Regularization of the affine finish (`StylizerDims.ridge`) instead of the checkpoint's: larger
            keeps more of the frame's own contrast.
        precision: Of the weights in the network's files.
        sizes: Width and height of the frames that accelerators get kernels for.
        static_sizes: Width and height of the frames that a lite network gets a graph of its own for, made by
            onnx2tf.
        base_bundle: An exported model; where it has the checkpoint's architecture, its graphs take the new
            weights and are compared with PyTorch as ever, and its kernels for every size, which no checkpoint
            changes, are taken over. That spares the minute or more that tracing takes.
        report: Called with one line for each file.

    Raises:
        CheckpointError: No such checkpoint, or a damaged one.
        BundleError: `out` holds something that is no bundle, or cannot be written.
        ParityError: A file does not compute what its reference computes.
        GraphError: A file is not valid, or not for the delegate that it is made for.
        LaneError: A runtime refuses a file.
        MissingExtraError: `static_sizes` needs packages that are not installed.
    """
    stylizer, info = load_checkpoint(checkpoint)
    if ridge is not None:
        stylizer.dims = replace(stylizer.dims, ridge=ridge)
    _refuse_foreign(out)
    if static_sizes:
        check_static(stylizer)
    source = {"checkpoint": checkpoint.name, "sha256": sha256_of(checkpoint), "step": info.step}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as err:
        raise BundleError(f"{out.parent} cannot be written: {err.strerror}", "Name another --out") from err
    try:
        if base_bundle is not None and not base_bundle.fits(stylizer, precision):
            base_bundle = None
        network = {**stylizer.dims.as_dict(), "style_code": stylizer.style_code_size, "precision": precision}
        writer = _Writer(part, network, report, base_bundle)
        writer.onnx(stylizer, precision, source)
        if stylizer.dims.variant == "lite":
            writer.lite(stylizer)
        for size in static_sizes:
            writer.static(stylizer, size)
        for kernel in (*KERNELS.values(), *sized_kernels(sizes, _grid(stylizer))):
            writer.kernel(kernel)
        for lane in (gpu, hexagon):
            if reason := lane.why_missing():
                report(f"{lane.LANE}: not checked ({reason})")
        writer.golden(stylizer)
        bundle = Bundle(
            part, _name(stylizer), version, tuple(writer.files), source, network, tools(), machine()
        )
        (part / CARD_NAME).write_text(card(bundle))
        bundle = replace(bundle, files=(*bundle.files, file_spec(part, "card", CARD_NAME)))
        write_manifest(bundle)
        part.chmod(0o755)
        _replace(part, out)
    except OSError as err:
        raise BundleError(f"{out} cannot be written: {err.strerror}", "Name another --out") from err
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return replace(bundle, path=out)


@cache
def checked(kernel: Kernel) -> tuple[bytes, dict[str, Any], dict[str, Any]]:
    """Build, check and time a kernel, once in a process: no checkpoint changes it.

    Returns:
        The file's content, its parity row, its latency row.

    Raises:
        ParityError, LaneError, GraphError: See `Kernel.check`.
    """
    content = kernel.build()
    return content, kernel.check(content), kernel_latency(content, kernel)


class _Writer:
    """Writes files into a bundle's folder, each checked and described."""

    def __init__(
        self, folder: Path, network: dict[str, Any], report: Report, base_bundle: BaseBundle | None
    ) -> None:
        self._folder, self._network, self._report = folder, network, report
        self._base_bundle = base_bundle
        self.files: list[FileSpec] = []

    def onnx(self, stylizer: StylizerNetwork, precision: Precision, source: dict[str, Any]) -> None:
        """Write the ONNX files."""
        metadata = {**{f"source.{key}": str(value) for key, value in source.items()}, "precision": precision}
        style, whole, part = (self._folder / f"{role}.onnx" for role in ROLES)
        if not self._refilled(stylizer, metadata):
            write_style_encoder(stylizer, style, precision, metadata)
            write_stylizer(stylizer, whole, precision, metadata)
        style_macs, macs = self._macs(stylizer)
        self._onnx(style, check_style_encoder(style, stylizer), style_macs)
        self._onnx(whole, check_stylizer(whole, stylizer), macs)
        write_stylizer_map(whole, part)
        self._onnx(part, check_stylizer_map(part, stylizer), macs)

    def _macs(self, stylizer: StylizerNetwork) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the cost of one style code and of one map: of one architecture, that of any checkpoint."""
        if self._base_bundle is None:
            return style_encoder_macs(stylizer), stylizer_macs(stylizer)
        style, whole = (self._base_bundle.bundle.spec(role).cost for role in ROLES[:2])
        return dict(style), dict(whole)

    def _refilled(self, stylizer: StylizerNetwork, metadata: dict[str, str]) -> bool:
        """Write style encoder and stylizer with the base_bundle's graphs; False where they do not serve."""
        if self._base_bundle is None:
            return False
        before, after = self._base_bundle.weights(), weights_of(stylizer)
        found: set[str] = set()
        try:
            for role in ROLES[:2]:
                source, path = self._base_bundle.bundle.file(role), self._folder / f"{role}.onnx"
                found |= refill(source, path, before, after, metadata)
            check_complete(found, after)
        except GraphError as err:
            self._report(f"Traced anew: {err}")
            return False
        return True

    def _onnx(self, path: Path, parity: dict[str, Any], macs: dict[str, Any]) -> None:
        inputs, outputs = contract(path.stem, self._network["style_code"])
        spec = file_spec(
            self._folder, path.stem, path.name, inputs, outputs,
            parity=rounded(parity), cost={"parameters": parameters(path), **macs},
        )  # fmt: skip
        self._add(replace(spec, latency=onnx_latency(path, spec)))

    def lite(self, stylizer: StylizerNetwork) -> None:
        """Write a lite network as TFLite; a colorization that has no such form is left out, and said so."""
        if reason := why_left_out(stylizer):
            self._report(f"TFLite of the network: left out, {reason}")
            return
        for spec in write_lite(self._folder, stylizer, self._network):
            self._add(spec)

    def static(self, stylizer: StylizerNetwork, size: Size) -> None:
        """Write a lite network for frames of one size."""
        self._add(write_static_map(self._folder, stylizer, self._network, size))

    def kernel(self, kernel: Kernel) -> None:
        """Write a kernel; one that nothing here can run is left out, and said so."""
        path = self._folder / f"{kernel.role}.tflite"
        if self._base_bundle is not None and kernel.size is None:
            shutil.copyfile(self._base_bundle.bundle.file(kernel.role), path)
            self._add(self._base_bundle.bundle.spec(kernel.role))
            return
        if not kernel.cpu and gpu.why_missing():
            self._report(f"{path.name}: left out, nothing here can check it ({gpu.why_missing()})")
            return
        content, parity, latency = checked(kernel)
        path.write_bytes(content)
        spec = file_spec(
            self._folder, kernel.role, path.name, kernel.inputs, kernel.outputs,
            parity=rounded(parity), cost={"parameters": 0}, latency=latency, delegates=takes(content),
        )  # fmt: skip
        self._add(spec)

    def golden(self, stylizer: StylizerNetwork) -> None:
        """Write the golden vectors."""
        write_golden(self._folder / GOLDEN_NAME, golden_vectors(stylizer))
        self._add(file_spec(self._folder, "golden", GOLDEN_NAME))

    def _add(self, spec: FileSpec) -> None:
        self.files.append(spec)
        parity = f", differs from its reference by at most {spec.parity['max']:g}" if spec.parity else ""
        lanes = f" ({', '.join(spec.parity['lanes'])})" if spec.parity else ""
        self._report(f"{spec.path}: {spec.bytes / 1e3:.0f} kB{parity}{lanes}")


def _grid(stylizer: StylizerNetwork) -> Callable[[int, int], Size]:
    def grid(width: int, height: int) -> Size:
        rows, columns = network_size(height, width, stylizer.dims)
        return columns // stylizer.dims.map_cell, rows // stylizer.dims.map_cell

    return grid


def _name(stylizer: StylizerNetwork) -> str:
    return str(getattr(stylizer.dims, "variant", "mvstylizer"))


def _refuse_foreign(out: Path) -> None:
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST_NAME).is_file():
        raise BundleError(f"{out} is not empty and holds no bundle", "Name a new or empty folder with --out")
    if out.exists() and not out.is_dir():
        raise BundleError(f"{out} is a file", "Name a folder with --out")


def _replace(part: Path, out: Path) -> None:
    """Move `part` to `out`; a folder that is there steps aside first, since rename needs an empty target."""
    if not out.exists():
        part.rename(out)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.old.", dir=out.parent))
    out.rename(aside / out.name)
    part.rename(out)
    shutil.rmtree(aside)
