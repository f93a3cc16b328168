"""Export a checkpoint, or any stylizer that keeps `export.protocol`, to a bundle.

Every file is compared with its reference, and ``model.json`` describes them all. The bundle is built next to
its target and renamed after the last comparison, so a failed export leaves no files and does not change an
existing bundle.

Example:
    bundle = export_bundle(Path("runs/mine.safetensors"), Path("models/mine"), version=2, report=print)
    print(bundle.spec("stylizer").parity["max"])
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from export.adapter import Adapter, adapted
from export.cache import Cache
from export.errors import GraphError
from export.kernels.lite_contract import LITE_FILES
from export.machine import machine, tools
from export.model_card import CARD_NAME, card
from export.module import load_stylizer
from export.onnx_models.contract import ROLES as ONNX_ROLES
from export.onnx_models.file import Precision, round_weights
from export.onnx_models.weight_swap import BaseBundle, digest_of, network_row, weights_of
from export.parity.golden import GOLDEN_NAME, write_golden
from export.parity.kernels import KERNELS, sized_kernels
from export.parity.reference import Reference
from export.quantization import Quantization
from export.runtimes import gpu, hexagon
from export.sizes import WidthHeight
from export.writers.draft import Draft, Progress, Reporter
from export.writers.kernels import write_kernel
from export.writers.lite import write_lite
from export.writers.onnx import write_onnx
from mvstylizer.bundle import MANIFEST_NAME, Bundle, BundleError, file_spec, sha256_of, write_manifest
from training.checkpoint import CheckpointError, load_checkpoint
from training.options import StylizerDims
from training.stylizer import network_size

SIZES: tuple[WidthHeight, ...] = ((512, 256), (768, 384), (1024, 512), (1920, 1080))
"""Frame sizes that accelerators get kernels for by default: those of the paper."""


def export_bundle(
    checkpoint: Path | str,
    out: Path,
    *,
    weights: Path | None = None,
    version: int = 1,
    ridge: float | None = None,
    precision: Precision = "fp16",
    quantization: Quantization | None = None,
    sizes: Sequence[WidthHeight] = SIZES,
    base_bundle: BaseBundle | None = None,
    cache: bool = True,
    report: Reporter = lambda _: None,
    progress: Progress = lambda *_: None,
) -> Bundle:
    """Export a checkpoint.

    Args:
        checkpoint: File written by `mvstylizer train`, or a look network's, which makes a ``lite`` bundle; or
            ``package.module:function``, which builds a stylizer (`export.module.load_stylizer`).
        out: Folder of the bundle. An existing bundle is replaced; any other content is refused.
        weights: State dict of the built stylizer; None leaves it as it was built.
        version: Release number, from 1.
        ridge: Regularization of the grid's fit (`StylizerDims.ridge`), instead of the checkpoint's; larger
            values keep it closer to the global mapping.
        precision: Precision of the weights in the network's files.
        quantization: Put convolutions of the stylizer into eight bits, if the bound allows it.
        sizes: Frame sizes that accelerators get kernels for.
        base_bundle: An exported model. If it has the checkpoint's architecture, its graphs take the new
            weights, and its kernels for any frame size are copied, which saves a minute of tracing. The
            comparison with PyTorch is the same.
        cache: Reuse kernels and traced graphs of earlier exports (`export.cache`). Whatever depends on the
            checkpoint is compared with PyTorch either way.
        report: Called with one line per file.
        progress: Called with the number of finished files, that of all, and the next one's name.

    Raises:
        CheckpointError: The checkpoint is missing or damaged.
        StylizerModuleError: The stylizer cannot be built, does not keep the protocol, or cannot be traced.
        BundleError: `out` contains something other than a bundle, or cannot be written.
        ParityError: A file does not compute what its reference computes.
        GraphError: The network cannot be exported, or a file is not valid for its target.
        LaneError: A runtime rejects a file.
        PrecisionError: Eight bits are required and miss their bound, or there are too few photos.
    """
    _refuse_foreign(out)
    stylizer, source = opened(checkpoint, weights)
    if ridge is not None:
        stylizer.set_ridge(ridge)
    _check_exportable(stylizer.dims)
    if precision == "fp16":
        round_weights(stylizer)
    base = base_bundle if base_bundle is not None and base_bundle.fits(stylizer, precision) else None
    with _staged(out) as folder:
        kernels = [*KERNELS.values(), *sized_kernels(sizes, _grid_of(stylizer.dims))]
        network = network_row(stylizer, precision)
        files = len(ONNX_ROLES) + len(LITE_FILES) * (stylizer.heads is not None) + len(kernels) + 1
        store = Cache() if cache else None
        draft = Draft(folder, Reference(stylizer), network, report, store, quantization, progress, files)
        write_onnx(draft, source, base)
        write_lite(draft)
        for kernel in kernels:
            write_kernel(draft, kernel, base)
        draft.begin(GOLDEN_NAME)
        write_golden(folder / GOLDEN_NAME, draft.reference)
        draft.add(file_spec(folder, "golden", GOLDEN_NAME))
        _report_missing_lanes(report)
        bundle = _bundle(draft, version, source)
        write_manifest(bundle)
    return replace(bundle, path=out)


def opened(checkpoint: Path | str, weights: Path | None = None) -> tuple[Adapter, dict[str, object]]:
    """Return a stylizer with the kit's finish, and the manifest's row of its origin; see `export_bundle`."""
    if isinstance(checkpoint, Path):
        if weights is not None:
            raise CheckpointError(f"{checkpoint} has its own weights", "Omit --weights, or name a module")
        stylizer, info = load_checkpoint(checkpoint)
        source = {"checkpoint": checkpoint.name, "sha256": sha256_of(checkpoint), "step": info.step}
        return adapted(stylizer), source
    built = adapted(load_stylizer(checkpoint, weights))
    digest = sha256_of(weights) if weights else digest_of(weights_of(built))
    return built, {
        "checkpoint": weights.name if weights else "as built",
        "sha256": digest,
        "step": 0,
        "module": checkpoint,
    }


def _check_exportable(dims: StylizerDims) -> None:
    if dims.finish != "grid":
        raise GraphError(
            f"A stylizer with finish {dims.finish} cannot be exported", "Train one with the grid finish"
        )


def _grid_of(dims: StylizerDims) -> Callable[[int, int], tuple[int, int, int]]:
    """Return a function from a frame's width and height to the columns, rows and bins of its grid."""

    def grid(width: int, height: int) -> tuple[int, int, int]:
        rows, columns = network_size(height, width, dims)
        return columns // dims.map_cell, rows // dims.map_cell, dims.bins

    return grid


def _report_missing_lanes(report: Reporter) -> None:
    for lane in (gpu, hexagon):
        if reason := lane.why_missing():
            report(f"{lane.LANE}: not checked ({reason})")


def _bundle(draft: Draft, version: int, source: dict[str, object]) -> Bundle:
    """Return the bundle of a draft, and write the card, which cannot contain its own hash."""
    name = draft.reference.stylizer.name
    files = tuple(draft.files)
    bundle = Bundle(draft.folder, name, version, files, source, draft.network, tools(), machine())
    (draft.folder / CARD_NAME).write_text(card(bundle))
    return replace(bundle, files=(*files, file_spec(draft.folder, "card", CARD_NAME)))


def _refuse_foreign(out: Path) -> None:
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST_NAME).is_file():
        raise BundleError(f"{out} is not empty and not a bundle", "Name a new or empty folder with --out")
    if out.exists() and not out.is_dir():
        raise BundleError(f"{out} is a file", "Name a folder with --out")


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """Yield a new folder next to `out` that replaces it at the end, or disappears after an error."""
    part: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        yield part
        part.chmod(0o755)
        _replace(part, out)
    except OSError as err:
        raise BundleError(
            f"{out} cannot be written: {err.strerror}", "Name another folder with --out"
        ) from err
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)


def _replace(part: Path, out: Path) -> None:
    """Move `part` to `out`; an existing folder is moved away first, since rename needs an empty target."""
    if not out.exists():
        part.rename(out)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.old.", dir=out.parent))
    out.rename(aside / out.name)
    part.rename(out)
    shutil.rmtree(aside)
