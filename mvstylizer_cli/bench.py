"""``mvstylizer bench``: one command a bench, and `all`, `compare`, `report`, `readme`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from mvstylizer_cli.bench_device import EXAMPLES as DEVICE_EXAMPLES
from mvstylizer_cli.bench_device import bench_device

if TYPE_CHECKING:
    from collections.abc import Mapping

RESULTS: Final = Path("benchmarks/results")
WITH_FIGURES: Final = [Path("README.md"), Path("docs/figures.md"), Path("models/MODEL_CARD.md")]

app = typer.Typer(
    name="bench", help="Measure the kit.", no_args_is_help=True, rich_markup_mode=None, add_completion=False
)
app.command("device", epilog=DEVICE_EXAMPLES)(bench_device)

QuickOption = Annotated[bool, typer.Option("--quick", help="Reduced settings: seconds instead of minutes.")]
ThreadsOption = Annotated[int, typer.Option(min=1, help="Cores that everything measured is held to.")]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE.json", help="The result. [default: benchmarks/results/NAME.json]"),
]
BundlesOption = Annotated[
    list[Path] | None,
    typer.Option("--bundle", metavar="DIR", help="Model bundle, may be repeated. [default: all shipped]"),
]
BundleOption = Annotated[
    Path | None, typer.Option("--bundle", metavar="DIR", help="Model bundle; the shipped one if left away.")
]
ResultsOption = Annotated[Path, typer.Option("--results", metavar="DIR", help="Folder of the kept results.")]
JsonOption = Annotated[
    bool,
    typer.Option("--json", help="Print exactly one JSON object on stdout; everything else goes to stderr."),
]


def measure(name: str, *, quick: bool, threads: int, out: Path | None, as_json: bool, **options: Any) -> None:
    """Run a bench, keep its result and print it: what every bench's command comes down to.

    Args:
        name: Of the bench.
        quick: Reduced settings.
        threads: Cores to hold this process to.
        out: The result's file; None takes its usual place.
        as_json: Print the result instead of its tables.
        options: The bench's own.
    """
    from benchmarks.harness.registry import Effort, bench
    from benchmarks.machine import Watch, pin

    threads = pin(threads)  # before anything that starts threads is imported
    from benchmarks.harness.result import write

    found = bench(name)
    watch = Watch(threads, quick=quick)

    def say(line: str) -> None:
        watch.look()
        _say(line)

    result = found.run(Effort(quick, threads), say, **options)
    document = result.document(watch.metadata())
    path = out or RESULTS / f"{name}.json"
    write(document, path)
    _draw(document, path)
    _say(f"{name}: {path}")
    typer.echo(json.dumps(document) if as_json else _text(document))


@app.command(
    epilog="\b\nExamples:\n  mvstylizer bench table1\n"
    "  mvstylizer bench table1 --peer 'pcakd=python pcakd.py {content} {style} {out}'"
)
def table1(
    bundle: BundlesOption = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=COMMAND", help="Another method: a command with {content}, {style} and {out} in it."
        ),
    ] = None,
    quick: QuickOption = False,
    threads: ThreadsOption = 2,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Table 1: time of one key frame, by resolution and model."""
    measure(
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
    """Table 2: time of one intermediate frame, and of every stage."""
    measure("table2", quick=quick, threads=threads, out=out, as_json=as_json, bundle=bundle)


@app.command(epilog="\b\nExample:\n  mvstylizer bench figure5 --out before.json")
def figure5(
    bundle: BundleOption = None,
    quick: QuickOption = False,
    threads: ThreadsOption = 2,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Figure 5: speed-up over frame by frame, by key-frame interval, counted both ways."""
    measure("figure5", quick=quick, threads=threads, out=out, as_json=as_json, bundle=bundle)


@app.command(epilog="\b\nExample:\n  mvstylizer bench table4 --quick")
def table4(
    bundle: BundleOption = None,
    quick: QuickOption = False,
    threads: ThreadsOption = 2,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Table 4: intermediate frames against stylizing every frame, and how steady they are."""
    measure("table4", quick=quick, threads=threads, out=out, as_json=as_json, bundle=bundle)


@app.command(
    epilog="\b\nExamples:\n  mvstylizer bench quality\n"
    "  mvstylizer bench quality --pairs pairs/ --peers results/luan --vgg vgg16.safetensors"
)
def quality(
    pairs: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="NN_content and NN_style photos. [default: a few free photos]"),
    ] = None,
    peers: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Another method's NN.jpg or NN.png; may be repeated."),
    ] = None,
    photos: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Photos for pairs of random looks, whose answer is known."),
    ] = None,
    bundle: BundlesOption = None,
    strength: Annotated[
        list[float] | None,
        typer.Option(min=0, max=1, help="Of the style; may be repeated. [default: 1 and 0.8]"),
    ] = None,
    vgg: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="VGG16 to relu4_3 (safetensors). [default: the kit's, to relu3_3]"),
    ] = None,
    pairs_sheet: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw a contact sheet of --pairs too.")
    ] = None,
    quick: QuickOption = False,
    threads: ThreadsOption = 2,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Photorealism and style of the picture; draws contact_sheet.png beside the result."""
    sheet = (out or RESULTS / "quality.json").with_name("contact_sheet.png")
    measure(
        "quality", quick=quick, threads=threads, out=out, as_json=as_json, pairs=pairs, peers=peers or [],
        photos=photos, bundles=bundle or [], strengths=strength or (1.0, 0.8), vgg=vgg, sheet=sheet,
        pairs_sheet=pairs_sheet,
    )  # fmt: skip


@app.command(epilog="\b\nExample:\n  mvstylizer bench rollout")
def rollout(
    quick: QuickOption = False,
    threads: ThreadsOption = 2,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Averaging ten edges' updates, and the time from a merged checkpoint until phones get it."""
    measure("rollout", quick=quick, threads=threads, out=out, as_json=as_json)


@app.command(epilog="\b\nExample:\n  mvstylizer bench memory")
def memory(
    quick: QuickOption = False,
    threads: ThreadsOption = 2,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Peak memory of stylize for a short and a long video, and for one picture by model and resolution."""
    measure("memory", quick=quick, threads=threads, out=out, as_json=as_json)


@app.command(
    "all", epilog="\b\nExamples:\n  mvstylizer bench all --quick\n  mvstylizer bench all --out-dir results/"
)
def every(
    quick: QuickOption = False,
    threads: ThreadsOption = 2,
    out_dir: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the results.")] = RESULTS,
    only: Annotated[
        str | None, typer.Option(metavar="LIST", help="Of the benches, such as table1,table2.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run every bench, one after the other, each in a process of its own."""
    from benchmarks.harness.registry import BENCHES, bench
    from benchmarks.harness.run_all import run_every

    chosen = [bench(name.strip()) for name in only.split(",")] if only else [b for b in BENCHES if b.in_all]
    outcomes = run_every(chosen, out_dir, quick=quick, threads=threads, say=_say)
    failed = [outcome.bench for outcome in outcomes if outcome.exit_code]
    lines = [f"{o.bench:12}{'failed' if o.exit_code else 'done':8}{o.seconds:7.0f} s" for o in outcomes]
    result = {"failed": failed, "benches": [outcome._asdict() for outcome in outcomes]}
    typer.echo(json.dumps(result) if as_json else "\n".join(lines))
    if failed:
        raise typer.Exit(1)


@app.command(
    epilog="\b\nExample:\n  mvstylizer bench compare before/table1.json benchmarks/results/table1.json"
)
def compare(
    before: Annotated[Path, typer.Argument(metavar="A.json", help="A result.")],
    after: Annotated[Path, typer.Argument(metavar="B.json", help="A later one of the same bench.")],
    everything: Annotated[
        bool, typer.Option("--everything", help="Show the figures within the noise too.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 when a figure is worse.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare two results of one bench figure by figure."""
    from benchmarks.harness import compare as comparison
    from benchmarks.harness.result import read
    from benchmarks.harness.tables import aligned

    results = read(before), read(after)
    changes, moved = comparison.compare(*results), comparison.machine_moved(*results)
    text = aligned(comparison.as_table(changes, moved, everything=everything))
    typer.echo(json.dumps(comparison.as_dict(changes, moved)) if as_json else text)
    if strict and any(change.verdict == "worse" for change in changes):
        raise typer.Exit(1)


@app.command(
    epilog="\b\nExamples:\n  mvstylizer bench report\n  mvstylizer bench report --out report.html --no-film"
)
def report(
    results: ResultsOption = RESULTS,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="The page. [default: report.html among the results]"),
    ] = None,
    film: Annotated[bool, typer.Option(help="Stylize a short clip for the slider on top (a minute).")] = True,
    as_json: JsonOption = False,
) -> None:
    """Write the kept results as one HTML page that needs no other file."""
    import tempfile

    from benchmarks.harness.report import page
    from device_runtime.media.atomic_file import pending_file

    path = out or results / "report.html"
    with tempfile.TemporaryDirectory() as folder:
        clips = None
        if film:
            from benchmarks.film import make_film

            clips = make_film(Path(folder))
        with pending_file(path) as part:
            part.write_text(page(results, clips))
    typer.echo(json.dumps({"report": str(path)}) if as_json else f"Report: {path}")


@app.command(epilog="\b\nExamples:\n  mvstylizer bench readme\n  mvstylizer bench readme --check")
def readme(
    file: Annotated[
        list[Path],
        typer.Option(metavar="FILE.md", help="Its blocks <!-- bench:NAME --> are written again. Repeatable."),
    ] = WITH_FIGURES,
    results: ResultsOption = RESULTS,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 1 when a block is out of date.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the kept results' tables into README, docs and model card."""
    states = {str(each): _refresh(each, results, check) for each in file}
    lines = (f"{name}: {state}" for name, state in states.items())
    typer.echo(json.dumps({"files": states}) if as_json else "\n".join(lines))
    if "out of date" in states.values():
        raise typer.Exit(1)


def _refresh(file: Path, results: Path, check: bool) -> str:
    from benchmarks.harness.readme import ReadmeError, rewritten

    try:
        before = file.read_text()
        after = rewritten(before, results)
        if not check and after != before:
            file.write_text(after)
    except OSError as err:
        raise ReadmeError(f"Cannot use {file}: {err.strerror}", "Name another with --file") from err
    return "up to date" if after == before else "out of date" if check else "written"


def _text(document: Mapping[str, Any]) -> str:
    from benchmarks.harness.registry import bench
    from benchmarks.harness.tables import aligned

    tables = bench(document["bench"]).load().tables(document)
    return "\n\n".join([*map(aligned, tables), *document["notes"]])


def _draw(document: Mapping[str, Any], path: Path) -> None:
    """Draw the curves of benches that have some beside the result: ``figure5.svg``, ``figure5-2.svg``, …."""
    from benchmarks.harness.plot import svg
    from benchmarks.harness.registry import bench

    module = bench(document["bench"]).load()
    for number, plot in enumerate(module.plots(document) if hasattr(module, "plots") else (), 1):
        name = f"{path.stem}.svg" if number == 1 else f"{path.stem}-{number}.svg"
        path.with_name(name).write_text(svg(plot))


def _say(line: str) -> None:
    typer.echo(line, err=True)
