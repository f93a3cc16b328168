"""`mvstylizer federate`: cloud, edge, submit, status, restore. Heavy imports stand inside the commands."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mvstylizer.errors import need_extra

FLOWER = ("flwr", "torch")

app = typer.Typer(
    name="federate",
    help="Let edges learn from what they see, average in the cloud, judge, release and roll out.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

CloudOption = Annotated[Path, typer.Option("--folder", metavar="DIR", help="The cloud's folder.")]
EdgeOption = Annotated[Path, typer.Option("--folder", metavar="DIR", help="The edge's folder.")]
JsonOption = Annotated[
    bool,
    typer.Option("--json", help="Print exactly one JSON object on stdout; everything else goes to stderr."),
]


@app.command(
    epilog="\b\nExample:\n  mvstylizer federate cloud --folder cloud --host 10.0.0.1 --name cloud.example"
)
def cloud(
    folder: CloudOption,
    host: Annotated[
        str, typer.Option(help="Address to listen on; reachable by the edges alone.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the cloud.")] = 9443,
    name: Annotated[
        list[str] | None, typer.Option(help="Host name or address for the certificate; repeatable.")
    ] = None,
) -> None:
    """Run the cloud until Ctrl-C; edges whose keys lie in DIR/edges may take part."""
    need_extra("fl", *FLOWER)
    need_extra("export", "onnx", "onnxscript", "tensorflow")  # each accepted model is exported here
    from fl.flower.cloud import run_cloud

    run_cloud(folder, host=host, port=port, names=name or (), on_ready=_say)


@app.command(
    epilog="\b\nExample:\n  mvstylizer federate edge --folder edge --cloud cloud.example:9443 --name paris"
)
def edge(
    folder: EdgeOption,
    cloud: Annotated[str, typer.Option("--cloud", metavar="HOST:PORT", help="Where the cloud listens.")],
    name: Annotated[str, typer.Option("--name", help="The edge's name.")],
    metrics: Annotated[
        str,
        typer.Option(metavar="URL", help="The gateway's metrics: retrain while no request is inside."),
    ] = "",
    nice: Annotated[
        int, typer.Option(min=0, max=19, help="By how much retraining gives way to other programs.")
    ] = 10,
) -> None:
    """Take part with this edge until Ctrl-C; DIR/join comes from the cloud's folder."""
    need_extra("fl", *FLOWER)
    from fl.flower.edge import run_edge

    run_edge(folder, cloud, name, metrics=metrics, nice=nice, on_state=_say)


@app.command(
    epilog="\b\nExample:\n  mvstylizer federate submit --folder cloud --start first.safetensors --rounds 5"
)
def submit(
    folder: CloudOption,
    start: Annotated[
        Path | None,
        typer.Option(metavar="CHECKPOINT", help="What to begin with; the first time."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=0, help="Rounds; 0 only rolls out the last release.")] = 1,
    quorum: Annotated[int, typer.Option(min=1, help="Edges that must answer each round.")] = 2,
    deadline: Annotated[float, typer.Option(min=1, help="Seconds of a round.")] = 3600.0,
    average: Annotated[
        Literal["frames", "equal", "trimmed"],
        typer.Option(help="Weighted by frames, the paper's equal weights, or a trimmed mean."),
    ] = "frames",
    clip: Annotated[
        float, typer.Option(min=0, help="Shorten updates to this many times the median length; 0 = never.")
    ] = 3.0,
    proximal: Annotated[float, typer.Option(min=0, help="FedProx's mu.")] = 0.0,
    adam_rate: Annotated[
        float, typer.Option(min=0, help="FedAdam's server learning rate; 0 = plain averaging.")
    ] = 0.0,
    dp_noise: Annotated[
        float, typer.Option(min=0, help="Noise multiplier of central differential privacy; 0 = without.")
    ] = 0.0,
    dp_clip: Annotated[float, typer.Option(min=1e-9, help="With it: the longest update of an edge.")] = 1.0,
    steps: Annotated[int, typer.Option(min=1, help="Steps of an edge in a round.")] = 100,
    batch: Annotated[int, typer.Option(min=2, help="Samples a step.")] = 2,
    crop: Annotated[int, typer.Option(min=32, help="Side of a training crop, a multiple of 8.")] = 128,
    learning_rate: Annotated[float, typer.Option(min=0, help="Adam's learning rate.")] = 1e-4,
    holdout_size: Annotated[int, typer.Option(min=64, help="Side at which the gate judges, of 8.")] = 192,
    as_json: JsonOption = False,
) -> None:
    """Run rounds on the cloud, release what passed the gate and roll it out; resumes after a kill."""
    need_extra("fl", *FLOWER)
    from fl.flower.order import Order
    from fl.flower.submit import submit as run

    if crop % 8 or holdout_size % 8:
        raise typer.BadParameter("must be a multiple of 8", param_hint="--crop, --holdout-size")
    order = Order(
        rounds=rounds, quorum=quorum, deadline_s=deadline, mode=average, clip=clip, adam_rate=adam_rate,
        dp_noise=dp_noise, dp_clip=dp_clip, proximal=proximal, steps=steps, batch=batch, crop=crop,
        learning_rate=learning_rate, holdout_size=holdout_size,
    )  # fmt: skip
    rows = run(folder, order, start=start, progress=lambda row: _say(_line(row)))
    _finish({"rows": rows}, "Done", as_json)


@app.command(epilog="\b\nExample:\n  mvstylizer federate status --folder cloud")
def status(folder: CloudOption, as_json: JsonOption = False) -> None:
    """Show the last round, the releases, and which edge runs which version."""
    need_extra("fl", *FLOWER)
    from fl.status import read_status, table

    found = read_status(folder)
    _finish(found, table(found), as_json)


@app.command(
    epilog="\b\nExample:\n  mvstylizer federate restore --registry cloud/registry --folder edge"
    "\n  mvstylizer serve --watch edge/releases"
)
def restore(
    folder: EdgeOption,
    registry: Annotated[Path, typer.Option(metavar="DIR", help="The cloud's registry, or a copy of it.")],
    version: Annotated[int | None, typer.Option(min=1, help="Version; the last one if left away.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Verify the last release and give it to the edge to serve."""
    need_extra("fl", *FLOWER)
    from fl.release import RELEASES, install, is_newest, newest, release_files

    files, releases = release_files(registry, version), folder / RELEASES
    if not is_newest(files, releases):
        install(files, releases, folder / "join" / "release.pub")
    bundle = str(newest(releases))
    _finish({"bundle": bundle}, f"Bundle: {bundle}", as_json)


def _line(row: dict[str, Any]) -> str:
    """Return a row of the journal as a line for people."""
    clock = time.strftime("%H:%M:%S", time.localtime(row["time"]))
    left_out = {"event", "time", "sha256", "scores", "losses", "submission"}
    rest = "  ".join(f"{name} {value}" for name, value in row.items() if name not in left_out and value != "")
    return f"{clock}  {row['event']:10}  {rest}"


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _finish(result: dict[str, Any], text: str, as_json: bool) -> None:
    typer.echo(json.dumps(result) if as_json else text)
