"""``mvstylizer export``: export a checkpoint or a module to a bundle, or check or compile a bundle."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from mvstylizer.errors import need_extra
from mvstylizer_cli.console import JsonOption, Show, finish, native_output_hidden

EXPORT_EXAMPLES = """\b
Examples:
  mvstylizer export runs/first.safetensors --out models/first
  mvstylizer export runs/first.safetensors --out models/first --precision fp32 --sizes 1280x720
  mvstylizer export training/weights/look.safetensors --out models/my-lite
  mvstylizer export runs/first.safetensors --out models/small --precision int8 --calibrate photos/
  mvstylizer export --init mystyle/
  mvstylizer export mystyle.model:build --weights mystyle.safetensors --out models/mystyle
  mvstylizer export --check models/first
  mvstylizer export --diff models/first models/second
  mvstylizer export --compile models/first --snapdragon SM8650,SM8750 --out compiled
"""


def export(
    checkpoint: Annotated[
        str | None,
        typer.Argument(
            metavar="CHECKPOINT|MODULE:BUILD",
            help="File written by `mvstylizer train`, or a look network for lite; or the function that builds"
            " a stylizer of your own.",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", metavar="FILE", help="State dict of a stylizer of your own."),
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(
            "--init",
            metavar="FOLDER",
            help="Instead of exporting, write a template of your own stylizer.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="BUNDLE", help="Folder to write the bundle to.")
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            "--check",
            metavar="BUNDLE",
            help="Instead of exporting, verify a bundle's hashes and results and time it on this machine.",
        ),
    ] = None,
    diff: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            "--diff", metavar="BUNDLE BUNDLE", help="Instead of exporting, compare two bundles side by side."
        ),
    ] = None,
    compile_: Annotated[
        Path | None,
        typer.Option(
            "--compile",
            metavar="BUNDLE",
            help="Instead of exporting, compile a bundle's kernels ahead of time for Snapdragon.",
        ),
    ] = None,
    snapdragon: Annotated[str, typer.Option(metavar="SOC,...", help="Chips to compile for.")] = "SM8650",
    version: Annotated[int, typer.Option(min=1, help="Release number, which is Triton's model version.")] = 1,
    precision: Annotated[
        Literal["fp16", "fp32", "int8", "auto"],
        typer.Option(
            help="Precision of the weights. int8 also computes convolutions in eight bits; auto does"
            " so where that is faster and within --min-psnr."
        ),
    ] = "fp16",
    calibrate: Annotated[
        Path | None,
        typer.Option("--calibrate", metavar="PHOTOS", help="Folder of photos, for int8 and auto."),
    ] = None,
    min_psnr: Annotated[
        float, typer.Option("--min-psnr", min=0, help="Bound of int8 against fp32 on photos, in dB.")
    ] = 38.0,
    sizes: Annotated[
        str, typer.Option(metavar="WxH,...", help="Frame sizes to build accelerator kernels for.")
    ] = "512x256,768x384,1024x512,1920x1080",
    ridge: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Regularization of the grid's fit; larger values keep it closer to the global LUT."
            " [default: as in training]",
        ),
    ] = None,
    cache: Annotated[
        bool,
        typer.Option(
            "--cache/--no-cache",
            help="Reuse kernels and traced graphs of earlier exports, from ~/.cache/mvstylizer/export.",
        ),
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Export a checkpoint or your own stylizer, and check every file; or check an existing bundle."""
    if sum(each is not None for each in (check, checkpoint, compile_, init, diff)) != 1:
        raise typer.BadParameter(
            "name either a CHECKPOINT or MODULE:BUILD to export, or a bundle with --check or --compile,"
            " two bundles with --diff, or a folder with --init"
        )
    if init is not None:
        from export.template_project import write_template

        files = write_template(init)
        name = init.resolve().name
        finish(
            {"files": [str(file) for file in files]},
            f"Template: {init}\nExport it with: mvstylizer export {name}.model:build --out bundle",
            as_json,
        )
        return
    if diff is not None:
        from export.diff import diff_bundles

        compared = diff_bundles(*diff)
        finish(compared.as_dict(), "\n".join(compared.lines()), as_json)
        return
    if check is not None:
        from export.verify import check_bundle

        with native_output_hidden():
            rows = check_bundle(check, report=lambda line: typer.echo(line, err=True))
        finish(
            {"bundle": str(check), "files": [row.as_dict() for row in rows]}, f"Verified: {check}", as_json
        )
        return
    if out is None:
        raise typer.BadParameter("name the folder to write to", param_hint="--out")
    if compile_ is not None:
        from export.snapdragon import compile_bundle

        with native_output_hidden():
            compiled = compile_bundle(
                compile_, out, snapdragon.split(","), report=lambda line: typer.echo(line, err=True)
            )
        finish({"files": [each.as_dict() for each in compiled]}, f"Compiled: {out}", as_json)
        return
    assert checkpoint is not None
    from export.sizes import SizeError, parse_sizes

    try:
        wanted = parse_sizes(sizes)
    except SizeError as err:
        raise typer.BadParameter(str(err), param_hint="--sizes") from err
    quantizes = precision in ("int8", "auto")
    if quantizes != (calibrate is not None):
        raise typer.BadParameter(
            "--calibrate PHOTOS belongs to --precision int8 or auto, and the other way round"
        )
    need_extra("export", "torch", "onnx", "onnxscript", "tensorflow")
    with native_output_hidden(), _progress() as progress:
        from export.exporter import export_bundle
        from export.quantization import Quantization

        quantization = Quantization(calibrate, min_psnr, precision == "int8") if calibrate else None
        written = export_bundle(
            _source(checkpoint),
            out,
            weights=weights,
            version=version,
            ridge=ridge,
            precision="fp32" if precision == "fp32" else "fp16",
            quantization=quantization,
            sizes=wanted,
            cache=cache,
            report=lambda line: typer.echo(line, err=True),
            progress=progress,
        )
    files = {
        spec.role: {"path": spec.path, "bytes": spec.bytes, "parity": spec.parity} for spec in written.files
    }
    finish({"bundle": str(out), "version": version, "files": files}, f"Bundle: {out}", as_json)


def _source(text: str) -> Path | str:
    """Return the path of a checkpoint, or ``module:function`` as it is."""
    return text if ":" in text and not Path(text).exists() else Path(text)


@contextmanager
def _progress() -> Iterator[Callable[[int, int, str], None]]:
    """Yield a progress bar on a terminal; elsewhere the lines of the finished files are enough."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    with Show("Exporting") as show:
        yield show
