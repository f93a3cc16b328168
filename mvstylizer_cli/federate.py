"""`mvstylizer federate`: cloud, edge, submit, status, restore. Heavy imports are inside the commands."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mvstylizer.errors import need_extra
from mvstylizer_cli.console import JsonOption, finish
from mvstylizer_cli.renamed_options import renaming

FLOWER = ("flwr", "torch")

app = typer.Typer(
    name="federate",
    help="Federated learning: retrain on edges, average in the cloud, evaluate, release and roll out.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

CloudOption = Annotated[Path, typer.Option("--folder", metavar="DIR", help="Folder of the cloud.")]
EdgeOption = Annotated[Path, typer.Option("--folder", metavar="DIR", help="Folder of the edge.")]


@app.command(
    epilog="\b\nExample:\n  mvstylizer federate cloud --folder cloud --host 10.0.0.1 --name cloud.example"
)
def cloud(
    folder: CloudOption,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on; only the calls of admitted edges are passed."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 9443,
    name: Annotated[
        list[str] | None, typer.Option(help="Host name or address for the certificate; repeatable.")
    ] = None,
) -> None:
    """Run the cloud until Ctrl-C; edges with a public key in DIR/edges are admitted."""
    need_extra("fl", *FLOWER)
    need_extra("export", "onnx", "onnxscript", "tensorflow")  # each accepted model is exported here
    from fl.flower.cloud import run_cloud

    run_cloud(folder, host=host, port=port, names=name or (), on_ready=_log)


@app.command(
    epilog="\b\nExample:\n  mvstylizer federate edge --folder edge --cloud cloud.example:9443 --name paris"
)
def edge(
    folder: EdgeOption,
    cloud: Annotated[str, typer.Option("--cloud", metavar="HOST:PORT", help="Address of the cloud.")],
    name: Annotated[str, typer.Option("--name", help="Name of the edge.")],
    metrics: Annotated[
        str,
        typer.Option(metavar="URL", help="The gateway's metrics; training pauses while it serves requests."),
    ] = "",
    nice: Annotated[int, typer.Option(min=0, max=19, help="Niceness of training.")] = 10,
    dp_noise: Annotated[
        float,
        typer.Option(min=0, help="Noise multiplier of this edge's own differential privacy; 0 disables it."),
    ] = 0.0,
    dp_clip: Annotated[
        float, typer.Option(min=1e-9, help="Maximum L2 norm of an update, with this edge's own privacy.")
    ] = 1.0,
) -> None:
    """Run an edge until Ctrl-C; copy DIR/join from the cloud folder first."""
    need_extra("fl", *FLOWER)
    from fl.edge_privacy import EdgePrivacy
    from fl.flower.edge import run_edge

    privacy = EdgePrivacy(dp_noise, dp_clip) if dp_noise else None
    run_edge(folder, cloud, name, metrics=metrics, nice=nice, privacy=privacy, on_state=_log)


@app.command(
    cls=renaming({"--proximal": "--fedprox-mu", "--adam-rate": "--server-lr"}),
    epilog="\b\nExample:\n  mvstylizer federate submit --folder cloud --start first.safetensors --rounds 5",
)
def submit(
    folder: CloudOption,
    start: Annotated[
        Path | None,
        typer.Option(metavar="CHECKPOINT", help="Initial checkpoint; required the first time."),
    ] = None,
    rounds: Annotated[
        int, typer.Option(min=0, help="Number of rounds; 0 only rolls out the last release.")
    ] = 1,
    quorum: Annotated[int, typer.Option(min=1, help="Minimum number of updates per round.")] = 2,
    deadline: Annotated[float, typer.Option(min=1, help="Maximum duration of a round, in seconds.")] = 3600.0,
    average: Annotated[
        Literal["frames", "equal", "trimmed"],
        typer.Option(help="Weighted by frames, equal weights (the paper's), or a trimmed mean."),
    ] = "frames",
    clip: Annotated[
        float,
        typer.Option(min=0, help="Clip updates to this multiple of the median length; 0 disables clipping."),
    ] = 3.0,
    max_weight: Annotated[
        float,
        typer.Option(
            min=0, help="Limit an edge's weight to this multiple of the median; 0 disables the limit."
        ),
    ] = 10.0,
    fedprox_mu: Annotated[
        float, typer.Option(min=0, help="Weight of the FedProx term; 0 disables it.")
    ] = 0.0,
    server_lr: Annotated[
        float, typer.Option(min=0, help="FedAdam's server learning rate; 0 uses plain averaging.")
    ] = 0.0,
    dp_noise: Annotated[
        float, typer.Option(min=0, help="Noise multiplier of central differential privacy; 0 disables it.")
    ] = 0.0,
    dp_clip: Annotated[
        float, typer.Option(min=1e-9, help="Maximum L2 norm of an update with differential privacy.")
    ] = 1.0,
    steps: Annotated[int, typer.Option(min=1, help="Local optimizer steps per round.")] = 100,
    batch: Annotated[int, typer.Option(min=2, help="Samples per step.")] = 2,
    crop: Annotated[int, typer.Option(min=32, help="Training crop size in pixels (multiple of 32).")] = 128,
    learning_rate: Annotated[float, typer.Option(min=0, help="Local learning rate of Adam.")] = 1e-4,
    holdout_size: Annotated[
        int, typer.Option(min=64, help="Evaluation photo size in pixels (multiple of 8).")
    ] = 192,
    as_json: JsonOption = False,
) -> None:
    """Run rounds, release models that pass the gate and roll them out; resumes an interrupted round."""
    need_extra("fl", *FLOWER)
    from fl.flower.run_config import RunConfig
    from fl.flower.submit import submit as run

    if crop % 32 or holdout_size % 32:
        raise typer.BadParameter("must be a multiple of 32", param_hint="--crop, --holdout-size")
    config = RunConfig(
        rounds=rounds,
        quorum=quorum,
        deadline_s=deadline,
        mode=average,
        clip=clip,
        max_weight=max_weight,
        server_lr=server_lr,
        dp_noise=dp_noise,
        dp_clip=dp_clip,
        fedprox_mu=fedprox_mu,
        steps=steps,
        batch=batch,
        crop=crop,
        learning_rate=learning_rate,
        holdout_size=holdout_size,
    )
    rows = run(folder, config, start=start, progress=lambda row: _log(_line(row)))
    finish({"rows": rows}, "Done", as_json)


@app.command(epilog="\b\nExample:\n  mvstylizer federate status --folder cloud")
def status(
    folder: Annotated[Path, typer.Option("--folder", metavar="DIR", help="Folder of the cloud or an edge.")],
    as_json: JsonOption = False,
) -> None:
    """Show the last round, the releases, and the version and epsilon of each edge, or of an edge folder."""
    need_extra("fl", *FLOWER)
    from fl.status import read_status, table

    state = read_status(folder)
    finish(state, table(state), as_json)


@app.command(
    epilog="\b\nExample:\n  mvstylizer federate restore --registry cloud/registry --folder edge"
    "\n  mvstylizer serve --watch edge/releases"
)
def restore(
    folder: EdgeOption,
    registry: Annotated[Path, typer.Option(metavar="DIR", help="The cloud's registry, or a copy of it.")],
    version: Annotated[int | None, typer.Option(min=1, help="Version; defaults to the last one.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Verify a release from the registry and install it on an edge."""
    need_extra("fl", *FLOWER)
    from fl.release import RELEASES, install, is_newest, newest, release_files

    files, releases = release_files(registry, version), folder / RELEASES
    if not is_newest(files, releases):
        install(files, releases, folder / "join" / "release.pub")
    bundle = str(newest(releases))
    finish({"bundle": bundle}, f"Bundle: {bundle}", as_json)


def _line(row: dict[str, Any]) -> str:
    """Return a journal entry as a human-readable line."""
    clock = time.strftime("%H:%M:%S", time.localtime(row["time"]))
    omitted = {"event", "time", "sha256", "scores", "losses", "submission"}
    rest = "  ".join(f"{name} {value}" for name, value in row.items() if name not in omitted and value != "")
    return f"{clock}  {row['event']:10}  {rest}"


def _log(line: str) -> None:
    typer.echo(line, err=True)
