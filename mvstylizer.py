"""MVStylizer's command line: train, export, serve, stylize.

Heavy imports stand inside the commands, so that ``--help`` answers at once. Exit codes: 0 done, 1 something
the user can mend (one line on stderr says what), 2 wrong usage, 130 and 143 ended by Ctrl-C and SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer
import typer.core

from benchmarks import command_line as benchmarks
from fl import command_line as federate
from mvstylizer_errors import MVStylizerError, need_extra
from mvstylizer_stylize import LUT_EXAMPLES, STYLIZE_EXAMPLES, lut, open_stylizer, stylize
from mvstylizer_terminal import BundleOption, JsonOption, Show, bundle_folder, finish

# Plain help answers in half the time and keeps the examples' lines. Without the switch Typer escapes
# brackets for rich even where rich does not print them.
typer.core.HAS_RICH = False

app = typer.Typer(
    name="mvstylizer",
    help="Edge-assisted photorealistic video style transfer.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(federate.app)
app.add_typer(benchmarks.app)

DEBUG = "MVSTYLIZER_DEBUG"
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
SERVE_EXAMPLES = """\b
Examples:
  mvstylizer serve --port 8001
  mvstylizer serve --host 0.0.0.0 --tls-cert edge.crt --tls-key edge.key --token-file tokens.txt
  mvstylizer serve --watch releases/ --release-key join/release.pub
"""


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error comes from, as MVSTYLIZER_DEBUG=1 does.")
    ] = False,
) -> None:
    """Take the options of every command."""
    if debug:
        os.environ[DEBUG] = "1"


app.command(epilog=STYLIZE_EXAMPLES)(stylize)
app.command(epilog=LUT_EXAMPLES)(lut)


@app.command(epilog=SERVE_EXAMPLES)
def serve(
    bundle: BundleOption = None,
    host: Annotated[str, typer.Option(help="Address that phones reach.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="gRPC port; 0 takes a free one.")] = 8001,
    health: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Where /healthz and /metrics are. [default: 127.0.0.1 and the gRPC port + 1]",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Stylizer instances.")] = 1,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificate chain (PEM); phones then speak TLS.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its private key (PEM).")] = None,
    client_ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Who signs phones' certificates (PEM); they must show one then."),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Bearer tokens, one NAME TOKEN a line; read again on change."),
    ] = None,
    spool: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep frames and styles for retraining, of phones that allow it."),
    ] = None,
    watch: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of bundles: serve the highest good version in it, swapping without a lost request.",
        ),
    ] = None,
    release_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Public key (PEM): of the watched bundles serve only those that its owner has signed.",
        ),
    ] = None,
    tensorrt: Annotated[
        bool,
        typer.Option("--tensorrt", help="In NVIDIA's container: build TensorRT engines, minutes each start."),
    ] = False,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Face a network without TLS or tokens all the same.")
    ] = False,
) -> None:
    """Serve the stylizer to phones until Ctrl-C or SIGTERM: a gateway, and Triton behind it on loopback."""
    from edge_triton.edge import EdgeOptions
    from edge_triton.serve import serve as run

    options = EdgeOptions(
        host, port, workers=workers, tls_cert=tls_cert, tls_key=tls_key, client_ca=client_ca,
        token_file=token_file, spool=spool, watch=watch, release_key=release_key, tensorrt=tensorrt,
        insecure=insecure,
    ).with_health(health)  # fmt: skip
    run(
        bundle_folder(bundle),
        options,
        on_ready=lambda edge: typer.echo(
            f"Serving on {edge.address}, health on {edge.health_address} (Ctrl-C stops)", err=True
        ),
    )


@app.command(
    epilog="\b\nExamples:\n  mvstylizer studio\n  mvstylizer studio --port 9000 --edge 192.168.1.20:8001"
)
def studio(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on loopback; 0 takes a free one.")] = 8765,
    edge: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Edge server. Left away: the bundled Triton is started."),
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="No server: run the model in this process.")] = False,
    bundle: BundleOption = None,
    max_upload: Annotated[int, typer.Option(min=1, metavar="MB", help="Largest file taken.")] = 2000,
    browse: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Serve a local page for stylizing and comparing, until Ctrl-C; what it was given is removed then."""
    need_extra("studio", "starlette", "uvicorn")
    import webbrowser

    from device_runtime.local_stylizer import LocalStylizer
    from export.manifest import load_bundle
    from studio.serve import listening, serve
    from studio.workbench import MEGABYTE, Engine

    if edge and local:
        raise typer.BadParameter("--edge and --local exclude each other", param_hint="--local")

    def ready(url: str) -> None:
        typer.echo(f"Studio on {url} (Ctrl-C stops)", err=True)
        if browse:
            webbrowser.open(url)

    model = load_bundle(bundle_folder(bundle))
    name = "in this process" if local else f"edge {edge}" if edge else "bundled Triton"
    with listening(port) as door, open_stylizer(edge, local, model) as stylizer:
        engine = Engine(stylizer, model, name, fallback=None if local else lambda: LocalStylizer(model))
        serve(door, engine, max_upload=max_upload * MEGABYTE, on_ready=ready)


@app.command(
    epilog="\b\nExample:\n  mvstylizer train --photos photos/ --out runs/first.safetensors --steps 20000"
)
def train(
    photos: Annotated[Path, typer.Option("--photos", metavar="DIR", help="Photos, plain or MS-COCO layout.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="CHECKPOINT", help="Checkpoint to write (.safetensors).")
    ],
    steps: Annotated[int, typer.Option(min=1, help="Length of the run.")] = 20_000,
    batch: Annotated[int, typer.Option(min=2, help="Samples a step.")] = 2,
    crop: Annotated[int, typer.Option(min=32, help="Side of a training crop, a multiple of 8.")] = 128,
    learning_rate: Annotated[float, typer.Option(min=0, help="Adam's learning rate at the start.")] = 1e-4,
    style_weight: Annotated[float, typer.Option(min=0, help="lambda of Eq. 5.")] = 1.0,
    structure_weight: Annotated[float, typer.Option(min=0, help="Weight of the structure term.")] = 1.0,
    look_weight: Annotated[float, typer.Option(min=0, help="Weight of the look pairs.")] = 4.0,
    ridge: Annotated[float, typer.Option(min=0, help="Regularisation of the affine finish.")] = 1e-3,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    mixed: Annotated[
        bool, typer.Option("--mixed", help="Convolutions in bfloat16 (GPU, or AVX-512 BF16).")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint at --out.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a stylizer on a folder of photos."""
    need_extra("train", "torch")
    if crop % 8:
        raise typer.BadParameter(f"{crop} is no multiple of 8", param_hint="--crop")
    from training.loop import TrainConfig
    from training.loop import train as run
    from training.options import StylizerDims

    config = TrainConfig(
        photos, out, steps=steps, batch=batch, crop=crop, learning_rate=learning_rate,
        style_weight=style_weight, structure_weight=structure_weight, look_weight=look_weight,
        seed=seed, mixed=mixed, dims=StylizerDims(ridge=ridge),
    )  # fmt: skip
    with Show("Training") as show:
        run(config, resume=resume, progress=lambda step, losses: show(step, steps, _losses(losses)))
    finish({"checkpoint": str(out), "steps": steps}, f"Checkpoint: {out}", as_json)


@app.command(epilog="\b\nExample:\n  mvstylizer export runs/first.safetensors --out models/first")
def export(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="What `mvstylizer train` wrote.")],
    out: Annotated[Path, typer.Option("--out", metavar="BUNDLE", help="Folder of the bundle.")],
    version: Annotated[int, typer.Option(min=1, help="Release number: Triton's model version.")] = 1,
    ridge: Annotated[
        float | None,
        typer.Option(
            min=0, help="Regularise the finish otherwise than in training; more keeps more contrast."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Export a checkpoint to ONNX and TFLite; each file is compared with its reference."""
    need_extra("export", "torch", "onnx", "onnxscript", "tensorflow")
    from export.bundle import export_bundle

    written = export_bundle(
        checkpoint, out, version=version, ridge=ridge, report=lambda line: typer.echo(line, err=True)
    )
    files = {
        spec.role: {"path": spec.path, "bytes": spec.bytes, "parity": spec.parity} for spec in written.files
    }
    finish({"bundle": str(out), "version": version, "files": files}, f"Bundle: {out}", as_json)


@app.command(epilog="\b\nExample:\n  mvstylizer doctor --json")
def doctor(as_json: JsonOption = False) -> None:
    """Look at what this machine has of what the kit needs, and say how to mend what is missing."""
    from mvstylizer_doctor import examine

    findings = examine()
    ready = all(finding.verdict != "missing" for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.verdict:8}{finding.name:16}{finding.found}")
        if finding.mend:
            lines.append(f"{'':24}mend: {finding.mend}")
    finish(
        {"ready": ready, "findings": [finding.as_dict() for finding in findings]}, "\n".join(lines), as_json
    )
    if not ready:
        raise typer.Exit(1)


def _losses(losses: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in losses.items())


class _TerminatedError(BaseException):
    """SIGTERM: unwinds like Ctrl-C does, so that files and servers are cleaned up."""


def _terminate(*_: object) -> None:
    raise _TerminatedError


def _kept() -> str:
    return "run it again to go on" if "--resume" in sys.argv else "nothing unfinished was kept"


def main() -> None:
    """Run the command line and exit."""
    import click

    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is imported
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = app(standalone_mode=False) or 0
        if code == INTERRUPTED:  # Typer turns Ctrl-C into this exit code and says nothing
            typer.echo(f"mvstylizer: interrupted, {_kept()}", err=True)
        sys.exit(code)
    except click.UsageError as err:
        err.show()
        sys.exit(2)
    except MVStylizerError as err:
        if os.environ.get(DEBUG):
            traceback.print_exc()
        if "--json" in sys.argv:
            typer.echo(json.dumps({"error": err.message, "hint": err.hint}))
        typer.echo(f"mvstylizer: {err}", err=True)
        sys.exit(1)
    except _TerminatedError:
        typer.echo(f"mvstylizer: terminated, {_kept()}", err=True)
        sys.exit(TERMINATED)


if __name__ == "__main__":
    main()
