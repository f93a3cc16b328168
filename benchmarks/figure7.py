"""Figure 7: loss by number of training images, with 1, 2 and 4 edges that average after every round.

In the paper, each edge trains on 4000 images per round, and the number of images per edge is compared that is
needed to reach the loss (Eq. 5) of a single edge after 40,000 images. This benchmark uses fewer and smaller
images, with the paper's optimizer, batch size of 2 and learning rate for any number of edges.

Averaging reduces gradient noise: the mean of four models that saw different images moves like one model with
four times the batch size. With a batch size of 2, noise limits a single edge, the more so the lower the loss.
The ratio therefore depends on the target loss and is reported for several. It also depends on the schedule: a
decaying learning rate would help one edge more than four.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmarks.data import paper
from benchmarks.federated.experiment import EDGES, FULL, QUICK, Settings, run_curves
from benchmarks.federated.fleet import Point
from benchmarks.federated.loss_curve import images_until, smoothed, smoothed_count
from benchmarks.harness.plot import Plot
from benchmarks.harness.registry import Budget, Progress, Table
from benchmarks.harness.result import Figure, Result, Row, find
from benchmarks.harness.tables import MISSING, number

SHARES: Final = (0.5, 0.75, 0.9, 1.0)  # target losses, as fractions of the loss reduction of one edge

FIGURES: Final = {
    "total": Figure("loss", "Eq. 5 on the hold-out set with lambda = 1: content + style", "lower", 0.03),
    "content": Figure("loss", "content loss", "neither", 0.1),
    "style": Figure("loss", "style loss", "lower", 0.03),
    "loss": Figure("loss", "target loss", "neither", 0.03),
    "images": Figure("images", "training images per edge until the target loss is reached", "lower", 0.15),
    "ratio": Figure("ratio", "images of a single edge / images per edge", "higher", 0.2),
    "ratio_1_to_4": Figure(
        "ratio", "images of a single edge / images of each of four, to the lowest loss of one", "higher", 0.2
    ),
    "paper_images": Figure("images", "the paper, to a loss of 0.0748"),
    "paper_ratio": Figure("ratio", "the paper"),
}


def run(
    budget: Budget, progress: Progress, *, photos: Path | None = None, folder: Path | None = None
) -> Result:
    """Run the federations and compare the images they need.

    Args:
        budget: Time budget.
        progress: Receives a line per round.
        photos: Folder of photos; None uses frames of the sample clips.
        folder: Folder to store the rounds, for resuming; None uses a temporary one.

    Raises:
        ExperimentError: The folder contains a run with other settings.
        PhotoFolderError: There are too few photos.
    """
    settings: Settings = budget.pick(FULL, QUICK)
    with _work_folder(folder) as work:
        curves = run_curves(settings, work, photos, budget.threads, progress)
    return Result(
        "figure7",
        FIGURES,
        [*curve_rows(curves), *reach_rows(curves)],
        {**asdict(settings), "photos": photos.name if photos else "frames of the sample clips"},
        [
            "One process without Flower, using the federation's local training, rounds and averaging (equal "
            "weights, Algorithm 2).",
            f"{settings.crop}-pixel crops; {settings.steps * settings.batch} images per edge and round "
            "(paper: 4000 from MS-COCO); starts from an untrained decoder on top of the global mapping.",
        ],
    )


def reach_rows(curves: Mapping[int, Sequence[Point]]) -> list[Row]:
    """Return the images needed to reach several target losses, by number of edges."""
    losses = smoothed(curves[1])
    lowest = min(losses)
    rows = []
    for share in SHARES:
        loss = (1 - share) * losses[0] + share * lowest  # exact at share 1
        needed = {edges: images_until(curve, loss) for edges, curve in curves.items()}
        for edges, images in needed.items():
            row: dict[str, Any] = {"loss": loss, "images": images, "ratio": _ratio(needed[1], images)}
            if share == 1:
                row["paper_images"] = float(paper.FEDERATED_IMAGES[edges])
                row["paper_ratio"] = paper.FEDERATED_IMAGES[1] / paper.FEDERATED_IMAGES[edges]
                if edges == EDGES[-1]:
                    row["ratio_1_to_4"] = row["ratio"]
            rows.append(Row({"share": share, "edges": edges}, row))
    return rows


def curve_rows(curves: Mapping[int, Sequence[Point]]) -> list[Row]:
    """Return the curves, one row per point."""
    return [
        Row(
            {"edges": edges, "trained": point.images},
            {"total": point.total, "content": point.content, "style": point.style},
        )
        for edges, curve in curves.items()
        for point in curve
    ]


def tables(document: Mapping[str, Any]) -> list[Table]:
    """Return a table of images per edge by target loss."""
    rows = [row for row in document["results"] if "share" in row["case"]]
    return [
        Table(
            "Figure 7: training images per edge to reach a loss, by number of edges",
            ["loss", "reduction", "edges", "images", "ratio", "paper: images", "paper: ratio"],
            [
                [
                    number(row["figures"]["loss"], digits=4),
                    f"{row['case']['share']:.0%}",
                    str(row["case"]["edges"]),
                    _whole(row["figures"]["images"]) or f"> {_last_smoothed(document, row['case']['edges'])}",
                    number(row["figures"]["ratio"]),
                    _whole(row["figures"].get("paper_images")) or MISSING,
                    number(row["figures"].get("paper_ratio")),
                ]
                for row in rows
            ],
            "Loss: Eq. 5 (content + style) on held-out photos. Reduction: relative to that of one edge.",
        )
    ]


def plots(document: Mapping[str, Any]) -> list[Plot]:
    """Return plots of the losses by images, and of the relative number of images compared with the paper."""
    losses = [
        Plot(f"Figure 7: {loss} loss", "training images per edge", "loss", _curves(document, loss))
        for loss in ("total", "content", "style")
    ]
    theirs = {edges: images / paper.FEDERATED_IMAGES[1] for edges, images in paper.FEDERATED_IMAGES.items()}
    found = {edges: find(document, share=SHARES[-1], edges=edges) or {} for edges in EDGES}
    ours = [(edges, 1 / row["ratio"]) for edges, row in found.items() if row.get("ratio")]
    needed = {"paper": list(theirs.items()), **({"ours": ours} if ours else {})}
    title = "Images per edge to reach the same loss"
    return [*losses, Plot(title, "edges", "relative to one edge", needed, frozenset({"paper"}))]


def _whole(images: float | None) -> str:
    return "" if images is None else f"{images:.0f}"


def _last_smoothed(document: Mapping[str, Any], edges: int) -> int:
    """Return the last image count of a smoothed curve; a loss not reached by then needs more images."""
    cases = [row["case"] for row in document["results"] if "trained" in row["case"]]
    trained = [case["trained"] for case in cases if case["edges"] == edges]
    return int(trained[smoothed_count(len(trained)) - 1])


def _curves(document: Mapping[str, Any], loss: str) -> dict[str, list[tuple[float, float]]]:
    curves: dict[str, list[tuple[float, float]]] = {}
    for row in document["results"]:
        case = row["case"]
        if "trained" in case:
            name = f"{case['edges']} edge{'s' * (case['edges'] > 1)}"
            curves.setdefault(name, []).append((case["trained"], row["figures"][loss]))
    return curves


def _ratio(one: float | None, many: float | None) -> float | None:
    return one / many if one is not None and many else None


@contextmanager
def _work_folder(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="mvstylizer-figure7-") as temporary:
        yield Path(temporary)
