"""Checkpoint → bundle: write every file, compare each with its reference, describe all in ``model.json``.

The bundle is built beside its target and renamed when the last comparison has passed: a failed export leaves
nothing behind and does not touch a bundle that was there.
"""

from __future__ import annotations

import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from export.kernel_parity import KERNELS
from export.manifest import (
    MANIFEST_NAME,
    Bundle,
    BundleError,
    FileSpec,
    TensorSpec,
    file_spec,
    sha256_of,
    write_manifest,
)
from export.onnx_graphs import write_style_encoder, write_stylizer
from export.onnx_parity import check_style_encoder, check_stylizer
from training.checkpoint import load_checkpoint
from training.stylizer import STYLE_CODE, Stylizer

RGB = "NHWC RGB"
STYLE_CODE_SPEC = TensorSpec("style_code", "float32", (1, STYLE_CODE), "N×K", "as style_encoder gives it")
ONNX_CONTRACTS = {
    "style_encoder": (
        (TensorSpec("style", "uint8", (1, -1, -1, 3), RGB, "0..255"),),
        (STYLE_CODE_SPEC,),
    ),
    "stylizer": (
        (
            TensorSpec("frame", "uint8", (1, -1, -1, 3), RGB, "0..255"),
            STYLE_CODE_SPEC,
            TensorSpec("r", "float32", (1,), "upscaling factor", "above 0"),
        ),
        (
            TensorSpec("stylized", "uint8", (1, -1, -1, 3), f"{RGB}, round(r·H) × round(r·W)", "0..255"),
            TensorSpec("affine_map", "float32", (1, -1, -1, 12), "NHW(3×4), [A | b] per cell", "RGB in 0..1"),
        ),
    ),
}
TOOLS = ("torch", "onnx", "onnxscript", "onnxruntime", "tensorflow", "ai-edge-litert", "numpy")

Report = Callable[[str], None]


def export_bundle(
    checkpoint: Path,
    out: Path,
    *,
    version: int = 1,
    ridge: float | None = None,
    report: Report = lambda _: None,
) -> Bundle:
    """Export a checkpoint.

    Args:
        checkpoint: What `mvstylizer train` wrote.
        out: The bundle's folder; a bundle that is there is replaced, anything else is refused.
        version: Release number, from 1.
        ridge: Regularisation of the affine finish (`StylizerDims.ridge`) instead of the checkpoint's: larger
            keeps more of the frame's own contrast.
        report: Called with one line for each file.

    Raises:
        CheckpointError: No such checkpoint, or a damaged one.
        BundleError: `out` holds something that is no bundle, or cannot be written.
        ParityError: A file does not compute what its reference computes.
    """
    stylizer, info = load_checkpoint(checkpoint)
    if ridge is not None:
        stylizer.dims = replace(stylizer.dims, ridge=ridge)
    _refuse_foreign(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as err:
        raise BundleError(f"{out.parent} cannot be written: {err.strerror}", "Name another --out") from err
    try:
        files = [*_write_onnx(stylizer, part, report), *_write_kernels(part, report)]
        bundle = Bundle(
            part,
            "mvstylizer",
            version,
            tuple(files),
            source={"checkpoint": checkpoint.name, "sha256": sha256_of(checkpoint), "step": info.step},
            network={**stylizer.dims.as_dict(), "style_code": STYLE_CODE},
            tools={"python": platform.python_version(), **{name: metadata.version(name) for name in TOOLS}},
        )
        write_manifest(bundle)
        part.chmod(0o755)
        _replace(part, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Bundle(out, bundle.name, version, bundle.files, bundle.source, bundle.network, bundle.tools)


def _write_onnx(stylizer: Stylizer, folder: Path, report: Report) -> list[FileSpec]:
    steps = {
        "style_encoder": (write_style_encoder, check_style_encoder),
        "stylizer": (write_stylizer, check_stylizer),
    }
    files = []
    for role, (write, check) in steps.items():
        path = folder / f"{role}.onnx"
        write(stylizer, path)
        parity = check(path, stylizer)
        inputs, outputs = ONNX_CONTRACTS[role]
        files.append(file_spec(folder, role, path.name, inputs, outputs, _rounded(parity)))
        report(_line(files[-1]))
    return files


def _write_kernels(folder: Path, report: Report) -> list[FileSpec]:
    files = []
    for role, kernel in KERNELS.items():
        content = kernel.build()
        parity = kernel.check(content)
        (folder / f"{role}.tflite").write_bytes(content)
        files.append(
            file_spec(folder, role, f"{role}.tflite", kernel.inputs, kernel.outputs, _rounded(parity))
        )
        report(_line(files[-1]))
    return files


def _line(spec: FileSpec) -> str:
    return (
        f"{spec.path}: {spec.bytes / 1e3:.0f} kB, differs from its reference by at most {spec.parity['max']}"
    )


def _rounded(parity: dict[str, Any]) -> dict[str, Any]:
    """Keep four significant digits: the rest is this machine's rounding, not information."""

    def short(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: short(v) for k, v in value.items()}
        return float(f"{value:.4g}") if isinstance(value, float) else value

    return {key: short(value) for key, value in parity.items()}


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
