"""``mvstylizer bench`` for what needs an edge, a network, a federation or another network's judgement."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mvstylizer_cli.bench import (
    BundleOption,
    JsonOption,
    OutOption,
    QuickOption,
    ThreadsOption,
    measure,
)


def add_to(app: typer.Typer) -> None:
    """Add the commands to `mvstylizer bench`."""
    for command, example in (
        (serving, "mvstylizer bench serving --bundle mvstylizer/models/mvstylizer"),
        (soak, "mvstylizer bench soak --minutes 30 --swaps 50"),
        (kernels, "mvstylizer bench kernels --quick"),
        (table3, "mvstylizer bench table3 --inception-weights inception-2015-12-05.pt"),
        (table5, "mvstylizer bench table5 --network proxy"),
        (figure7, "mvstylizer bench figure7 --photos photos/ --folder runs/figure7"),
    ):
        app.command(command.__name__, epilog=f"\b\nExample:\n  {example}")(command)


def serving(
    bundle: BundleOption = None,
    resolution: Annotated[
        str, typer.Option(metavar="WIDTHxHEIGHT", help="Size of the key frame.")
    ] = "1920x1080",
    quick: QuickOption = False,
    threads: ThreadsOption = 2,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serving: Triton and the gateway beside the model in process, and under load."""
    measure(
        "serving",
        quick=quick,
        threads=threads,
        out=out,
        as_json=as_json,
        bundle=bundle,
        resolution=resolution,
    )


def soak(
    bundle: BundleOption = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help="Length of the load. [default: 30; 0.5 with --quick]")
    ] = None,
    swaps: Annotated[
        int | None, typer.Option(min=1, help="Models published meanwhile. [default: 50; 2 with --quick]")
    ] = None,
    quick: QuickOption = False,
    threads: ThreadsOption = 2,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Soak: an edge under mixed load and model swaps; failures, and memory after against the first minute."""
    measure(
        "soak",
        quick=quick,
        threads=threads,
        out=out,
        as_json=as_json,
        bundle=bundle,
        minutes=minutes,
        swaps=swaps,
    )


def kernels(
    bundle: BundleOption = None,
    quick: QuickOption = False,
    threads: ThreadsOption = 2,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """TFLite kernels beside OpenCV, PyTorch and a copy of the frame."""
    measure("kernels", quick=quick, threads=threads, out=out, as_json=as_json, bundle=bundle)


def table3(
    bundle: BundleOption = None,
    inception_weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Standard Inception as TorchScript: inception-2015-12-05.pt."),
    ] = None,
    quick: QuickOption = False,
    threads: ThreadsOption = 2,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Table 3: Inception score and FID of stylized frames; FID and KID over VGG16 offline."""
    measure(
        "table3",
        quick=quick,
        threads=threads,
        out=out,
        as_json=as_json,
        bundle=bundle,
        inception_weights=inception_weights,
    )


def table5(
    bundle: BundleOption = None,
    network: Annotated[
        Literal["tun", "proxy"] | None,
        typer.Option(help="How to emulate: kernel TCP (root), or a proxy. [default: the first that works]"),
    ] = None,
    quick: QuickOption = False,
    threads: ThreadsOption = 2,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Table 5: latency of a key frame over an emulated network."""
    measure("table5", quick=quick, threads=threads, out=out, as_json=as_json, bundle=bundle, emulator=network)


def figure7(
    photos: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Photos that edges train on. [default: frames of the sample clips]"),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep the rounds here; given again, an interrupted run goes on."),
    ] = None,
    quick: QuickOption = False,
    threads: ThreadsOption = 2,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Figure 7: loss by images trained, with 1, 2 and 4 federated edges."""
    measure("figure7", quick=quick, threads=threads, out=out, as_json=as_json, photos=photos, folder=folder)
