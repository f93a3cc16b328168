"""``mvstylizer bench``: one command per benchmark, and `all`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import click
import typer

from mvstylizer_cli import bench_results
from mvstylizer_cli.bench_device import EXAMPLES as DEVICE_EXAMPLES
from mvstylizer_cli.bench_device import bench_device
from mvstylizer_cli.bench_runner import RESULTS, log, run_bench
from mvstylizer_cli.console import BundleOption, JsonOption, bundle_folder, finish

app = typer.Typer(
    name="bench",
    help="Run benchmarks and report their results.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)
app.command("device", epilog=DEVICE_EXAMPLES)(bench_device)

QuickOption = Annotated[bool, typer.Option("--quick", help="Reduced settings: seconds instead of minutes.")]
ThreadsOption = Annotated[int, typer.Option(min=1, help="Number of CPU cores to use.")]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE.json", help="Result file. [default: benchmarks/results/NAME.json]"),
]
BundlesOption = Annotated[
    list[Path] | None,
    typer.Option("--bundle", metavar="DIR", help="Model bundle; repeatable. [default: all bundled models]"),
]


@app.command(
    epilog="\b\nExamples:\n  mvstylizer bench table1\n"
    "  mvstylizer bench table1 --peer 'pcakd=python pcakd.py {content} {style} {out}'"
)
def table1(
    bundle: BundlesOption = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=COMMAND", help="Another method: a command with {content}, {style} and {out}."
        ),
    ] = None,
    quick: QuickOption = False,
    threads: ThreadsOption = 2,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Table 1: time to stylize a key frame, by resolution and model."""
    run_bench(
        "table1",
        quick=quick,
        threads=threads,
        out=out,
        as_json=as_json,
        bundles=bundle or [],
        peers=peer or [],
    )


@app.command(epilog="\b\nExample:\n  mvstylizer bench table2 --quick --json")
def table2(
    bundle: BundleOption = None,
    quick: QuickOption = False,
    threads: ThreadsOption = 2,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Table 2: time to interpolate a frame, and time of every stage."""
    run_bench("table2", quick=quick, threads=threads, out=out, as_json=as_json, bundle=bundle)


@app.command(epilog="\b\nExample:\n  mvstylizer bench table3 --inception-weights inception-2015-12-05.pt")
def table3(
    bundle: BundleOption = None,
    inception_weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Inception weights as TorchScript: inception-2015-12-05.pt."),
    ] = None,
    quick: QuickOption = False,
    threads: ThreadsOption = 2,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Table 3: Inception score and FID of stylized frames; FID and KID with VGG16 features."""
    run_bench(
        "table3",
        quick=quick,
        threads=threads,
        out=out,
        as_json=as_json,
        bundle=bundle,
        inception_weights=inception_weights,
    )


@app.command(epilog="\b\nExample:\n  mvstylizer bench table4 --quick")
def table4(
    bundle: BundleOption = None,
    quick: QuickOption = False,
    threads: ThreadsOption = 2,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Table 4: quality and temporal stability of interpolated frames."""
    run_bench("table4", quick=quick, threads=threads, out=out, as_json=as_json, bundle=bundle)


@app.command(epilog="\b\nExample:\n  mvstylizer bench table5 --network proxy")
def table5(
    bundle: BundleOption = None,
    network: Annotated[
        Literal["tun", "proxy"] | None,
        typer.Option(help="Emulator: kernel TCP (needs root) or a proxy. [default: the first that works]"),
    ] = None,
    quick: QuickOption = False,
    threads: ThreadsOption = 2,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Table 5: latency of a key frame over an emulated network."""
    run_bench(
        "table5", quick=quick, threads=threads, out=out, as_json=as_json, bundle=bundle, emulator=network
    )


@app.command(epilog="\b\nExample:\n  mvstylizer bench figure5 --out before.json")
def figure5(
    bundle: BundleOption = None,
    quick: QuickOption = False,
    threads: ThreadsOption = 2,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Figure 5: speed-up over stylizing every frame, by key-frame interval."""
    run_bench("figure5", quick=quick, threads=threads, out=out, as_json=as_json, bundle=bundle)


@app.command(epilog="\b\nExample:\n  mvstylizer bench figure7 --photos photos/ --folder runs/figure7")
def figure7(
    photos: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Training photos of the edges. [default: frames of the sample clips]"
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder to store the rounds; pass it again to resume."),
    ] = None,
    quick: QuickOption = False,
    threads: ThreadsOption = 2,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Figure 7: loss by number of training images, with 1, 2 and 4 edges."""
    run_bench("figure7", quick=quick, threads=threads, out=out, as_json=as_json, photos=photos, folder=folder)


@app.command(
    epilog="\b\nExamples:\n  mvstylizer bench quality\n"
    "  mvstylizer bench quality --pairs pairs/ --peers results/luan --vgg vgg16.safetensors"
)
def quality(
    pairs: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of NN_content and NN_style photos. [default: a few free photos]"
        ),
    ] = None,
    peers: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Another method's results, NN.jpg or NN.png; repeatable."),
    ] = None,
    photos: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Photos for synthetic pairs with a known result."),
    ] = None,
    luts: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npz", help="Grading LUTs, for cases with a known answer."),
    ] = None,
    targets: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="NN_content, NN_style and NN_target photos (PST50)."),
    ] = None,
    bundle: BundlesOption = None,
    strength: Annotated[
        list[float] | None,
        typer.Option(min=0, max=1, help="Style strength; repeatable. [default: 1]"),
    ] = None,
    match: Annotated[
        list[str] | None,
        typer.Option(
            click_type=click.Choice(["auto", "look", "palette"]),
            help="How the style is followed; repeatable. [default: all three]",
        ),
    ] = None,
    vgg: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="VGG16 up to relu4_3 (safetensors). [default: the bundled one, up to relu3_3]",
        ),
    ] = None,
    pairs_sheet: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Also write a contact sheet of --pairs.")
    ] = None,
    quick: QuickOption = False,
    threads: ThreadsOption = 2,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Photorealism and style of photos; writes contact_sheet.png next to the result."""
    sheet = (out or RESULTS / "quality.json").with_name("contact_sheet.png")
    run_bench(
        "quality",
        quick=quick,
        threads=threads,
        out=out,
        as_json=as_json,
        pairs=pairs,
        peers=peers or [],
        luts=luts,
        targets=targets,
        photos=photos,
        bundles=bundle or [],
        matches=match or ("auto", "look", "palette"),
        strengths=strength or (1.0,),
        vgg=vgg,
        sheet=sheet,
        pairs_sheet=pairs_sheet,
    )


@app.command(epilog="\b\nExample:\n  mvstylizer bench kernels --quick")
def kernels(
    bundle: BundleOption = None,
    quick: QuickOption = False,
    threads: ThreadsOption = 2,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """TFLite kernels compared with OpenCV, PyTorch and a copy of the frame."""
    run_bench("kernels", quick=quick, threads=threads, out=out, as_json=as_json, bundle=bundle)


@app.command(epilog="\b\nExample:\n  mvstylizer bench memory")
def memory(
    quick: QuickOption = False,
    threads: ThreadsOption = 2,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Peak memory of stylize, by video length, model and resolution."""
    run_bench("memory", quick=quick, threads=threads, out=out, as_json=as_json)


@app.command(
    epilog="\b\nExamples:\n  mvstylizer bench serving --bundle mvstylizer/models/mvstylizer\n"
    "  mvstylizer bench serving --propose 300 --resolution 512x288"
)
def serving(
    bundle: BundleOption = None,
    resolution: Annotated[
        str, typer.Option(metavar="WIDTHxHEIGHT", help="Size of the key frame.")
    ] = "1920x1080",
    propose: Annotated[
        float | None,
        typer.Option(
            min=1,
            metavar="MS",
            help="Instead of the benchmark: find workers, threads and queue for a 95th percentile of latency"
            " within MS milliseconds, and print the command line of serve.",
        ),
    ] = None,
    quick: QuickOption = False,
    threads: ThreadsOption = 2,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serving: overhead of Triton and the gateway, and their behavior under load."""
    if propose is not None:
        _propose(bundle, propose, resolution, threads, quick, as_json)
        return
    run_bench(
        "serving",
        quick=quick,
        threads=threads,
        out=out,
        as_json=as_json,
        bundle=bundle,
        resolution=resolution,
    )


def _propose(
    bundle: Path | None, goal_ms: float, resolution: str, cores: int, quick: bool, as_json: bool
) -> None:
    from benchmarks.edge_load.proposal import propose
    from benchmarks.machine import pin

    proposal = propose(
        bundle_folder(bundle),
        goal_ms,
        resolution=resolution,
        cores=pin(cores),
        seconds=1.0 if quick else 5.0,
        progress=log,
    )
    best = proposal.best
    text = f"{proposal.command}\n{best.requests_per_s:g} requests/s, p95 {best.p95_ms:g} ms"
    finish(proposal.as_dict(), text, as_json)


@app.command(epilog="\b\nExample:\n  mvstylizer bench soak --minutes 30 --swaps 50")
def soak(
    bundle: BundleOption = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help="Duration of the load. [default: 30; 0.5 with --quick]")
    ] = None,
    swaps: Annotated[
        int | None,
        typer.Option(min=1, help="Number of model swaps under load. [default: 50; 2 with --quick]"),
    ] = None,
    attack: Annotated[
        bool, typer.Option("--attack", help="Attack the edge in every known way at the same time.")
    ] = False,
    quick: QuickOption = False,
    threads: ThreadsOption = 2,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Soak: failures and memory growth of an edge under mixed load and model swaps."""
    run_bench(
        "soak",
        quick=quick,
        threads=threads,
        out=out,
        as_json=as_json,
        bundle=bundle,
        minutes=minutes,
        swaps=swaps,
        attack=attack,
    )


@app.command(epilog="\b\nExample:\n  mvstylizer bench rollout")
def rollout(
    quick: QuickOption = False,
    threads: ThreadsOption = 2,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Average the updates of ten edges, and roll out the merged model to phones."""
    run_bench("rollout", quick=quick, threads=threads, out=out, as_json=as_json)


@app.command(
    "all", epilog="\b\nExamples:\n  mvstylizer bench all --quick\n  mvstylizer bench all --out-dir results/"
)
def every(
    quick: QuickOption = False,
    threads: ThreadsOption = 2,
    out_dir: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the results.")] = RESULTS,
    only: Annotated[
        str | None, typer.Option(metavar="LIST", help="Only these benchmarks, for example table1,table2.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run every benchmark in turn, each in its own process."""
    from benchmarks.harness.registry import BENCHES, bench
    from benchmarks.harness.run_all import run_every

    chosen = [bench(name.strip()) for name in only.split(",")] if only else [b for b in BENCHES if b.in_all]
    outcomes = run_every(chosen, out_dir, quick=quick, threads=threads, progress=log)
    failed = [outcome.bench for outcome in outcomes if outcome.exit_code]
    lines = [f"{o.bench:12}{'failed' if o.exit_code else 'done':8}{o.seconds:7.0f} s" for o in outcomes]
    result = {"failed": failed, "benches": [outcome._asdict() for outcome in outcomes]}
    typer.echo(json.dumps(result) if as_json else "\n".join(lines))
    if failed:
        raise typer.Exit(1)


bench_results.add_to(app)
