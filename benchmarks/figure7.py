"""Figure 7: loss against images trained, with 1, 2 and 4 edges that average after every round.

The paper trains each edge on 4000 images, averages, and so on, and compares how many images each edge needs
until the loss of Eq. 5 is where one edge alone has it after 40,000. Here the same on a smaller scale: fewer
and smaller images, with the paper's optimizer, batch of 2 and learning rate for any number of edges.

What edges gain by averaging is less noise: the mean of four models that each saw other images moves as one
model with four times the batch would. With a batch of 2, noise is what limits one edge alone, and the more so
the lower the loss; so the ratio depends on the loss that is asked for, and the result states it for several.
A learning rate that falls would help one edge more than four: the ratio is that of this schedule.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from threading import Event, get_native_id
from typing import Any, Final

import torch

from benchmarks.data import paper
from benchmarks.data.federation_photos import HOLDOUT, SPOOL, lay_out
from benchmarks.federation import LocalFleet, Point, Schedule, run_federation, score
from benchmarks.harness.plot import Plot
from benchmarks.harness.registry import Effort, Say, Table
from benchmarks.harness.result import Figure, Result, Row, find
from benchmarks.harness.tables import MISSING, number
from fl.gate import Gate
from mvstylizer.errors import MVStylizerError
from training.checkpoint import save_checkpoint
from training.config import StepConfig
from training.options import StylizerDims
from training.stylizer import StylizerNetwork

EDGES: Final = (1, 2, 4)
NEIGHBOURS: Final = 2  # rounds on each side over which a curve is smoothed
SHARES: Final = (0.5, 0.75, 0.9, 1.0)  # of the way that one edge comes
SETTINGS: Final = "settings.json"
START: Final = "start.safetensors"

FIGURES: Final = {
    "total": Figure("loss", "Eq. 5 on the hold-out set, lambda = 1: content + style", "lower", 0.03),
    "content": Figure("loss", "its content part", "neither", 0.1),
    "style": Figure("loss", "its style part", "lower", 0.03),
    "loss": Figure("loss", "the loss asked for", "neither", 0.03),
    "images": Figure("images", "images that each edge trains on until the loss is reached", "lower", 0.15),
    "ratio": Figure("ratio", "images of one edge alone over images of each of these edges", "higher", 0.2),
    "ratio_1_to_4": Figure("ratio", "images of one edge over those of four, to one's lowest", "higher", 0.2),
    "paper_images": Figure("images", "the paper's, to a loss of 0.0748"),
    "paper_ratio": Figure("ratio", "the paper's"),
}  # fmt: skip


class Figure7Error(MVStylizerError):
    """The work folder belongs to a run with other settings."""


@dataclass(frozen=True)
class Settings:
    """The experiment.

    Attributes:
        crop: Side of the training crops and of the hold-out photos, in pixels.
        batch: Images a step; the paper's 2.
        learning_rate: Adam's, the paper's 1e-4; constant, the same for any number of edges.
        steps: Steps of an edge in a round.
        rounds: Rounds with 1, 2 and 4 edges: one edge alone is at its lowest before the last, and more edges
            need fewer.
        contents: Hold-out photos that are stylized.
        styles: Hold-out photos whose style they take.
    """

    crop: int = 48
    batch: int = 2
    learning_rate: float = 1e-4
    steps: int = 100
    rounds: tuple[int, ...] = (17, 6, 6)
    contents: int = 12
    styles: int = 4

    def step_config(self) -> StepConfig:
        """Return one step of an edge's retraining."""
        return StepConfig(
            batch=self.batch, crop=self.crop, learning_rate=self.learning_rate, mixed=_has_bfloat16()
        )


FULL: Final = Settings()
QUICK: Final = Settings(crop=32, steps=3, rounds=(3, 3, 3), contents=2, styles=2)


def run(effort: Effort, say: Say, *, photos: Path | None = None, folder: Path | None = None) -> Result:
    """Run the federations and find out how many images they need.

    Args:
        effort: The scale.
        say: Takes a line for each round.
        photos: Folder of photos; None takes frames of the sample clips.
        folder: Where the rounds are kept: an interrupted run goes on there. None = a temporary one.

    Raises:
        Figure7Error: The folder is of a run with other settings.
        PhotoFolderError: Too few photos.
    """
    settings: Settings = effort.pick(FULL, QUICK)
    with _work_folder(folder) as work:
        curves = run_curves(settings, work, photos, effort.threads, say)
    return Result(
        "figure7",
        FIGURES,
        [*curve_rows(curves), *reach_rows(curves)],
        {**asdict(settings), "photos": photos.name if photos else "frames of the sample clips"},
        [
            "One process, without Flower between the edges and the cloud: the federation's own retraining, "
            "rounds and averaging (equal weights, as Algorithm 2).",
            f"{settings.crop}-pixel crops; a round is {settings.steps * settings.batch} images an edge "
            "(paper: 4000 of MS-COCO); from an untrained decoder, without the global grade.",
        ],
    )


def run_curves(
    settings: Settings, work: Path, photos: Path | None, threads: int, say: Say
) -> dict[int, list[Point]]:
    """Return a curve for each number of edges, the untrained model first.

    The federations run beside each other, so that one edge alone does not leave cores idle; as its chain of
    rounds is the longest, it does not queue behind the others, and they take what it leaves of the cores.
    """
    _prepare(settings, work, photos)
    schedule = Schedule(work / SPOOL, settings.steps, settings.step_config())
    gate = Gate(work / HOLDOUT, size=settings.crop)
    torch.set_num_threads(1)  # an edge each on a core is faster than two cores on one of these small steps
    first = score(gate, work / START)
    stop = Event()
    with (
        ThreadPoolExecutor(threads, "edge", initializer=_stand_back) as pool,
        ThreadPoolExecutor(1, "alone") as alone,
        ThreadPoolExecutor(len(EDGES), "cloud") as clouds,
    ):
        running = {
            edges: clouds.submit(
                run_federation, work / f"{edges}-edges", work / START,
                LocalFleet(edges, schedule, alone if edges == 1 else pool, stop), gate,
                rounds=rounds, images=schedule.images, say=say,
            )
            for edges, rounds in zip(EDGES, settings.rounds, strict=True)
        }  # fmt: skip
        try:
            return {edges: [first, *future.result()] for edges, future in running.items()}
        finally:
            stop.set()  # Ctrl-C, or one that failed: the others need not go on


def smoothed(curve: Sequence[Point]) -> list[float]:
    """Return the total loss at each point as the mean over it and its neighbours on both sides.

    Points near the beginning have fewer neighbours; those at the end, which lack them on one side, are left
    out: a lucky last round is no loss reached.
    """
    means = []
    for place in range(max(1, len(curve) - NEIGHBOURS)):
        reach = min(NEIGHBOURS, place)
        means.append(fmean(point.total for point in curve[place - reach : place + reach + 1]))
    return means


def images_until(curve: Sequence[Point], loss: float) -> float | None:
    """Return at how many images the smoothed curve first is down to a loss, between points by a line.

    Returns:
        None when it never is.
    """
    losses = smoothed(curve)
    for place, (before, after) in enumerate(pairwise(losses)):
        if after <= loss < before:
            share = (before - loss) / (before - after)
            start, end = curve[place].images, curve[place + 1].images
            return start + share * (end - start)
    return None


def reach_rows(curves: Mapping[int, Sequence[Point]]) -> list[Row]:
    """Return how many images each number of edges needs, for several losses on one edge's way."""
    losses = smoothed(curves[1])
    lowest = min(losses)
    rows = []
    for share in SHARES:
        loss = (1 - share) * losses[0] + share * lowest  # in this form exact at share 1
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
    """Return the curves, a row for each point."""
    return [
        Row(
            {"edges": edges, "trained": point.images},
            {"total": point.total, "content": point.content, "style": point.style},
        )
        for edges, curve in curves.items()
        for point in curve
    ]


def tables(document: Mapping[str, Any]) -> list[Table]:
    """Lay a kept result out: images to the losses asked for."""
    rows = [row for row in document["results"] if "share" in row["case"]]
    return [
        Table(
            "Figure 7: images an edge trains on, by participating edges",
            ["loss", "of one edge's way", "edges", "images", "ratio", "paper: images", "ratio"],
            [
                [
                    number(row["figures"]["loss"], digits=4),
                    f"{row['case']['share']:.0%}",
                    str(row["case"]["edges"]),
                    _whole(row["figures"]["images"]) or f"> {_judged(document, row['case']['edges'])}",
                    number(row["figures"]["ratio"]),
                    _whole(row["figures"].get("paper_images")) or MISSING,
                    number(row["figures"].get("paper_ratio")),
                ]
                for row in rows
            ],
            "Loss: Eq. 5 (content + style) on photos that no edge trains on.",
        )
    ]


def plots(document: Mapping[str, Any]) -> list[Plot]:
    """Draw the losses over the images trained, and the images needed beside the paper's, as shares."""
    losses = [
        Plot(f"Figure 7: {loss} loss", "images trained on each edge", "loss", _curves(document, loss))
        for loss in ("total", "content", "style")
    ]
    theirs = {edges: images / paper.FEDERATED_IMAGES[1] for edges, images in paper.FEDERATED_IMAGES.items()}
    found = {edges: find(document, share=SHARES[-1], edges=edges) or {} for edges in EDGES}
    ours = [(edges, 1 / row["ratio"]) for edges, row in found.items() if row.get("ratio")]
    needed = {"paper": list(theirs.items()), **({"ours": ours} if ours else {})}
    title = "Images each edge needs to the same loss"
    return [*losses, Plot(title, "edges", "share of one edge's", needed, frozenset({"paper"}))]


def _whole(images: float | None) -> str:
    return "" if images is None else f"{images:.0f}"


def _judged(document: Mapping[str, Any], edges: int) -> int:
    """Return the images up to which a curve is smoothed: a loss not reached by then needs more."""
    cases = [row["case"] for row in document["results"] if "trained" in row["case"]]
    trained = [case["trained"] for case in cases if case["edges"] == edges]
    return int(trained[: max(1, len(trained) - NEIGHBOURS)][-1])


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


def _prepare(settings: Settings, work: Path, photos: Path | None) -> None:
    """Lay out photos and the start model in a new work folder; hold an old one to its settings."""
    wanted = json.dumps({**asdict(settings), "photos": str(photos)}, sort_keys=True)
    kept = work / SETTINGS
    if kept.is_file():
        if kept.read_text() != wanted:
            raise Figure7Error(f"{work} holds a run with other settings", "Name another folder")
        return
    lay_out(work, photos, short_side=2 * settings.crop, contents=settings.contents, styles=settings.styles)
    torch.manual_seed(0)
    # The paper's network has no global grade: with one, a hundred steps bring the loss to where noise rules.
    stylizer = StylizerNetwork(StylizerDims(grading_rounds=0))
    # Ours begins with no correction to the closed-form colours; the paper's network has none to begin with.
    stylizer.decoder.rgb.reset_parameters()
    save_checkpoint(work / START, stylizer, 0, {})
    kept.write_text(wanted)  # last: without it the folder is laid out again


@contextmanager
def _work_folder(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="mvstylizer-figure7-") as temporary:
        yield Path(temporary)


def _stand_back() -> None:
    """Lower this thread's priority; on Linux each thread has one of its own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, get_native_id(), 10)


def _has_bfloat16() -> bool:
    """Tell whether this machine multiplies bfloat16: without that it is slower than float32."""
    if torch.cuda.is_available():
        return True
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text().split() if cpuinfo.is_file() else []
    return "avx512_bf16" in flags or "amx_bf16" in flags
