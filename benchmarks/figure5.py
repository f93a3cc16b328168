"""Figure 5: how many times faster than stylizing frame by frame, by key-frame interval and resolution.

Counted twice. As the paper counts: Eq. 6 with the time of one stylized and of one interpolated frame, flow
and codec left out. Everything counted: whole runs of the main job on this machine, key frames stylized in the
same process on the same cores, against a whole run in which every frame is stylized.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeAlias

import cv2
import numpy as np

from benchmarks.data import footage, paper
from benchmarks.data.models import shipped
from benchmarks.harness.plot import Plot
from benchmarks.harness.registry import Budget, Progress, Table
from benchmarks.harness.result import Case, Figure, Result, Row, Value, find, median_of
from benchmarks.harness.tables import MISSING, number
from benchmarks.harness.timing import Timings, measure_in_blocks, spread
from benchmarks.pipeline_run import run_clip
from benchmarks.table2 import INTERPOLATIONS, STYLIZE
from device_runtime.kernels import Transfer, Warp
from device_runtime.options import Interpolation
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from mvstylizer.bundle import Bundle

# Whole runs take long. Before and after each round one stylizes every frame, so ratios are of neighbours.
# The longest interval is in every round, the others in two; the paper's way only at the longest: it is slow.
Run: TypeAlias = tuple[Interpolation, int]
LONGEST: Final[Run] = ("transfer", paper.INTERVALS[-1])
MAX_WARP: Final[Run] = ("warp", paper.INTERVALS[-1])
ROUNDS: Final[tuple[tuple[Run, ...], ...]] = (
    (("transfer", 5), ("transfer", 15), LONGEST, ("transfer", 25), MAX_WARP),
    (LONGEST, ("transfer", 10), ("transfer", 20), ("transfer", 5), ("transfer", 15)),
    (MAX_WARP, ("transfer", 25), LONGEST, ("transfer", 20), ("transfer", 10)),
)
RUN_FRAMES: Final = 3 * max(paper.INTERVALS)
FIGURES: Final = {
    "as_the_paper_counts": Figure(
        "ratio", "Eq. 6 for 300 frames with one stylized and one interpolated frame's times", "higher", 0.15
    ),
    "everything_counted": Figure(
        "ratio", "whole run stylizing every frame / whole run at this interval, a frame", "higher", 0.20
    ),
    "paper": Figure("ratio", "Eq. 6 for 300 frames with the paper's own times of its Table 2"),
    "stylize_seconds": Figure("s", "t_d: stylizing one frame in process", "lower", 0.10),
    "interpolate_seconds": Figure("s", "t_i: interpolating one frame, flow or map given", "lower", 0.10),
    "run_seconds": Figure("s", "whole run at this interval, wall time a frame", "lower", 0.10),
    "frame_by_frame_seconds": Figure(
        "s", "whole run stylizing every frame, wall time a frame", "lower", 0.10
    ),
}


def run(
    budget: Budget,
    progress: Progress,
    *,
    bundle: Path | None = None,
    resolutions: Sequence[str] | None = None,
    frames: int | None = None,
) -> Result:
    """Measure.

    Args:
        budget: How long it may take.
        progress: Takes progress.
        bundle: Model; the shipped default if None.
        resolutions: Frame sizes; the paper's if None, only the smallest of them when quick.
        frames: Of the clip; 90 if None, fewer when quick.

    Raises:
        MVStylizerError: The bundle cannot be loaded, or the footage is missing.
    """
    cv2.setNumThreads(budget.threads)
    model = shipped([bundle] if bundle else [])[0]
    intervals = budget.pick(paper.INTERVALS, paper.INTERVALS[-1:])
    count, stylized = frames or budget.pick(RUN_FRAMES, 30), budget.pick(9, 4)
    filmed = footage.frames(footage.clip("bigbuckbunny"), None if not budget.quick else count)
    rows: list[Row] = []
    for resolution in resolutions or budget.pick(paper.RESOLUTIONS, paper.ENDS[:1]):
        with (
            OnnxStylizer(model, threads=budget.threads) as stylizer,
            tempfile.TemporaryDirectory() as folder,
        ):
            times = _frame_seconds(model, stylizer, resolution, budget)
            job = _Job(model, stylizer, resolution, progress)
            whole = job.clip(Path(folder) / "clip.mp4", filmed, count)
            part = job.clip(Path(folder) / "part.mp4", filmed, stylized)
            runs = in_rounds(
                partial(job.seconds, part, "warp", 1),
                partial(job.seconds, whole),
                budget.pick(ROUNDS, ((MAX_WARP, LONGEST),)),
            )
        for way in INTERPOLATIONS:
            for interval in intervals:
                case: Case = {"resolution": resolution, "way": way, "interval": interval}
                rows.append(
                    Row(case, _figures(resolution, way, interval, times, runs.get((way, interval), [])))
                )
    settings = {
        "clip": "bigbuckbunny.mp4, resized, played to and fro",
        "clip_frames": count,
        "frame_by_frame_frames": stylized,
        "models": {model.name: model.version},
    }
    notes = [
        "Everything counted: the edge's part runs on the same cores as the phone's part, without a network."
    ]
    return Result("figure5", FIGURES, rows, settings, notes)


def in_rounds(
    every_frame: Callable[[], float],
    at_interval: Callable[[Interpolation, int], float],
    rounds: Sequence[Sequence[Run]],
) -> dict[Run, list[tuple[float, float]]]:
    """Make whole runs in rounds, between runs in which every frame is stylized.

    Of two runs whose ratios differ by more than the noise one was disturbed, and nothing tells which: those
    are made a third time, in a round of their own.

    Returns:
        For each run, round by round: seconds a frame of stylizing every frame, the mean of before and after
        its round, and its own.
    """
    found: dict[Run, list[tuple[float, float]]] = {}
    before = every_frame()
    for round_ in chain(rounds, _again(found)):  # looks at what was found only when the rounds are through
        seconds = [at_interval(*run) for run in round_]
        after = every_frame()
        for run, own in zip(round_, seconds, strict=True):
            found.setdefault(run, []).append(((before + after) / 2, own))
        before = after
    return found


def _again(found: Mapping[Run, Sequence[tuple[float, float]]]) -> Iterator[list[Run]]:
    """Give a round of the runs that were made twice and disagree, if there are any."""
    noise = FIGURES["everything_counted"].noise
    doubtful = []
    for run, pairs in found.items():
        ratios = [every / own for every, own in pairs]
        if len(ratios) == 2 and max(ratios) - min(ratios) > noise * max(ratios):
            doubtful.append(run)
    if doubtful:
        yield doubtful


@dataclass(frozen=True)
class _Job:
    """The main job at one resolution."""

    bundle: Bundle
    stylizer: OnnxStylizer
    resolution: str
    progress: Progress

    def clip(self, path: Path, filmed: list[footage.Picture], count: int) -> Path:
        """Write `count` pictures of what was filmed as a clip of the resolution."""
        return footage.write_clip(path, footage.back_and_forth(filmed, count), *footage.size(self.resolution))

    def seconds(self, source: Path, interpolation: Interpolation, interval: int) -> float:
        """Stylize a clip and return the seconds a frame."""
        what = "every frame" if interval == 1 else f"{interpolation}, interval {interval}"
        self.progress(f"figure5: {self.resolution}, {what}")
        report = run_clip(source, self.stylizer, self.bundle, f"every:{interval}", interpolation)
        return report.seconds["total"] / report.frames


def _frame_seconds(bundle: Bundle, stylizer: OnnxStylizer, resolution: str, budget: Budget) -> Timings:
    """Time one frame stylized, warped and transferred, as the paper counts: from one side, flow at hand."""
    frame = footage.photo(*footage.size(resolution))
    code = stylizer.encode_style(footage.style())
    affine_map = stylizer.stylize(frame, code, reply="map").affine_map
    if affine_map is None:
        raise ValueError("the stylizer gave no map")
    flow = np.full((*frame.shape[:2], 2), 1.5, np.float32)
    with (
        Warp(bundle.file("warp"), threads=budget.threads) as warp,
        Transfer(bundle.file("transfer"), threads=budget.threads) as transfer,
    ):
        warp.set_key(frame)
        quick = {"warp": lambda: warp(flow), "transfer": lambda: transfer(frame, affine_map)}
        _, beside = measure_in_blocks(
            lambda: stylizer.stylize(frame, code), quick, blocks=budget.pick(5, 2), repeats=3, name=STYLIZE
        )
    return beside


def _figures(
    resolution: str,
    interpolation: Interpolation,
    interval: int,
    times: Timings,
    runs: Sequence[tuple[float, float]],
) -> dict[str, Value]:
    """Lay out one case; `runs`: seconds a frame of whole runs, every frame stylized and at this interval."""
    figures: dict[str, Value] = {
        "as_the_paper_counts": times.ratio(STYLIZE, interpolation).through(
            lambda ratio: paper.eq6(ratio, 1.0, interval)
        ),
        "stylize_seconds": times[STYLIZE],
        "interpolate_seconds": times[interpolation],
    }
    if runs:
        figures |= {
            "everything_counted": spread(every / seconds for every, seconds in runs),
            "run_seconds": spread(seconds for _, seconds in runs),
            "frame_by_frame_seconds": spread(every for every, _ in runs),
        }
    if resolution in paper.RESOLUTIONS:
        figures["paper"] = paper.speed_up(resolution, interval)
    return figures


def tables(document: Mapping[str, Any]) -> list[Table]:
    """Lay a kept result out: a table for each way of counting, intervals across."""
    cases = [row["case"] for row in document["results"]]
    resolutions = list(dict.fromkeys(case["resolution"] for case in cases))
    intervals = list(dict.fromkeys(case["interval"] for case in cases))
    counted = {
        "Figure 5: speed-up over frame by frame, as the paper counts": "as_the_paper_counts",
        "Figure 5: speed-up over frame by frame, everything counted": "everything_counted",
    }
    header = ["resolution", "way", *(f"every {interval}" for interval in intervals)]
    captions = ["Eq. 6 for 300 frames; flow and codec not counted.", *document["notes"]]
    return [
        Table(title, header, [
            *(
                [r, "paper", *(_cell(document, r, "warp", i, "paper") for i in intervals)]
                for r in resolutions
                if figure == "as_the_paper_counts"
            ),
            *(
                [r, way, *(_cell(document, r, way, i, figure) for i in intervals)]
                for r in resolutions
                for way in INTERPOLATIONS
            ),
        ], caption)
        for (title, figure), caption in zip(counted.items(), captions, strict=True)
    ]  # fmt: skip


def _cell(document: Mapping[str, Any], resolution: str, way: str, interval: int, figure: str) -> str:
    figures = find(document, resolution=resolution, way=way, interval=interval)
    return number(figures.get(figure)) if figures else MISSING


def plots(document: Mapping[str, Any]) -> list[Plot]:
    """Draw the speed-up over the interval, both ways of counting, the paper's points beside ours."""
    resolutions = list(dict.fromkeys(row["case"]["resolution"] for row in document["results"]))
    intervals = {row["case"]["interval"] for row in document["results"]}
    labels = "key-frame interval, frames", "times faster than frame by frame"
    theirs = {f"paper, {r}": _curve(document, r, "warp", "paper") for r in resolutions}
    made = []
    for way in INTERPOLATIONS:
        for figure in ("as_the_paper_counts", "everything_counted"):
            title = figure.replace("_", " ")
            ours = {r: _curve(document, r, way, figure) for r in resolutions}
            if any(len(points) < len(intervals) for points in ours.values()):
                continue  # run at some intervals only: a point is no curve, and the table has it
            colours = {name: number for names in (ours, theirs) for number, name in enumerate(names)}
            curves = {name: points for name, points in (ours | theirs).items() if points}
            made.append(Plot(f"Speed-up, {way}, {title}", *labels, curves, frozenset(theirs), colours))
    return made


def _curve(document: Mapping[str, Any], resolution: str, way: str, figure: str) -> list[tuple[float, float]]:
    points = []
    for row in document["results"]:
        case, value = row["case"], row["figures"].get(figure)
        if (case["resolution"], case["way"]) == (resolution, way) and value is not None:
            points.append((case["interval"], median_of(value)))
    return points
