"""Figure 5: speed-up over stylizing every frame, by key-frame interval and resolution.

Computed in two ways. As in the paper: Eq. 6 with the times to stylize and interpolate a frame, without flow
and codec. End to end: whole runs on this machine, with key frames stylized in the same process on the same
cores, compared with whole runs that stylize every frame.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from benchmarks.data import footage, paper
from benchmarks.data.models import shipped
from benchmarks.harness.plot import Plot
from benchmarks.harness.registry import Budget, Progress, Table
from benchmarks.harness.result import Case, Figure, Result, Row, Value, find, median_of
from benchmarks.harness.tables import MISSING, number
from benchmarks.harness.timing import Timings, measure_in_blocks, spread
from benchmarks.runs.pipeline_run import run_clip
from benchmarks.runs.whole_runs import LONGEST, MAX_WARP, NOISE, ROUNDS, in_rounds
from benchmarks.table2 import INTERPOLATIONS, STYLIZE
from device_runtime.kernels import Transfer, Warp
from device_runtime.options import Interpolation
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from mvstylizer.bundle import Bundle

RUN_FRAMES: Final = 3 * max(paper.INTERVALS)
FIGURES: Final = {
    "as_the_paper_counts": Figure(
        "ratio", "Eq. 6 for 300 frames with the times to stylize and interpolate one frame", "higher", 0.15
    ),
    "everything_counted": Figure(
        "ratio", "whole run stylizing every frame / whole run at this interval, per frame", "higher", NOISE
    ),
    "paper": Figure("ratio", "Eq. 6 for 300 frames with the paper's times"),
    "stylize_seconds": Figure("s", "t_d: time to stylize a frame in process", "lower", 0.10),
    "interpolate_seconds": Figure("s", "t_i: time to interpolate a frame, flow or map given", "lower", 0.10),
    "run_seconds": Figure("s", "whole run at this interval, wall time per frame", "lower", 0.10),
    "frame_by_frame_seconds": Figure(
        "s", "whole run stylizing every frame, wall time per frame", "lower", 0.10
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
        budget: Time budget.
        progress: Receives lines of progress.
        bundle: Model bundle; defaults to the bundled model.
        resolutions: Frame sizes; defaults to the paper's, or to the smallest of them if quick.
        frames: Number of frames of the clip; defaults to 90, or fewer if quick.

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
        for way, interval in product(INTERPOLATIONS, intervals):
            case: Case = {"resolution": resolution, "way": way, "interval": interval}
            pairs = runs.get((way, interval), [])
            rows.append(Row(case, _figures(resolution, way, interval, times, pairs)))
    settings = {
        "clip": "bigbuckbunny.mp4, resized, played back and forth",
        "clip_frames": count,
        "frame_by_frame_frames": stylized,
        "models": {model.name: model.version},
    }
    notes = ["Phone and edge run on the same cores, without a network."]
    return Result("figure5", FIGURES, rows, settings, notes)


@dataclass(frozen=True)
class _Job:
    """Whole runs at one resolution."""

    bundle: Bundle
    stylizer: OnnxStylizer
    resolution: str
    progress: Progress

    def clip(self, path: Path, filmed: list[footage.Picture], count: int) -> Path:
        """Write `count` pictures as a clip of the resolution and return its path."""
        return footage.write_clip(path, footage.back_and_forth(filmed, count), *footage.size(self.resolution))

    def seconds(self, source: Path, interpolation: Interpolation, interval: int) -> float:
        """Stylize a clip and return the seconds per frame."""
        what = "every frame" if interval == 1 else f"{interpolation}, interval {interval}"
        self.progress(f"figure5: {self.resolution}, {what}")
        report = run_clip(source, self.stylizer, self.bundle, f"every:{interval}", interpolation)
        return report.seconds["total"] / report.frames


def _frame_seconds(bundle: Bundle, stylizer: OnnxStylizer, resolution: str, budget: Budget) -> Timings:
    """Time stylizing, warping and transferring a frame as in the paper: from one side, with given flow."""
    frame = footage.photo(*footage.size(resolution))
    code = stylizer.encode_style(footage.style())
    grid = stylizer.stylize(frame, code, reply="map").grid
    if grid is None:
        raise ValueError("the stylizer gave no map")
    flow = np.full((*frame.shape[:2], 2), 1.5, np.float32)
    with (
        Warp(bundle.file("warp"), threads=budget.threads) as warp,
        Transfer(bundle.file("transfer"), threads=budget.threads) as transfer,
    ):
        warp.set_key(frame)
        quick = {"warp": lambda: warp(flow), "transfer": lambda: transfer(frame, grid)}
        _, per_block = measure_in_blocks(
            lambda: stylizer.stylize(frame, code), quick, blocks=budget.pick(5, 2), repeats=3, name=STYLIZE
        )
    return per_block


def _figures(
    resolution: str,
    interpolation: Interpolation,
    interval: int,
    times: Timings,
    runs: Sequence[tuple[float, float]],
) -> dict[str, Value]:
    """Return the figures of a case; `runs` are pairs from `in_rounds`."""
    figures: dict[str, Value] = {
        "as_the_paper_counts": times.ratio(STYLIZE, interpolation).mapped(
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
    """Return two tables: speed-ups as in the paper, and end to end."""
    found = [row["case"] for row in document["results"]]
    resolutions = list(dict.fromkeys(case["resolution"] for case in found))
    intervals = list(dict.fromkeys(case["interval"] for case in found))
    counted = {
        "Figure 5: speed-up over stylizing every frame, as in the paper": "as_the_paper_counts",
        "Figure 5: speed-up over stylizing every frame, end to end": "everything_counted",
    }
    header = ["resolution", "method", *(f"every {interval}" for interval in intervals)]
    captions = ["Eq. 6 for 300 frames, without flow and codec.", *document["notes"]]
    tables = []
    for (title, figure), caption in zip(counted.items(), captions, strict=True):
        cases: list[tuple[str, str, str, str]]
        cases = [(r, way, way, figure) for r in resolutions for way in INTERPOLATIONS]
        if figure == "as_the_paper_counts":
            cases = [*((r, "paper", "warp", "paper") for r in resolutions), *cases]
        rows = [
            [r, name, *(_cell(document, r, way, i, key) for i in intervals)] for r, name, way, key in cases
        ]
        tables.append(Table(title, header, rows, caption))
    return tables


def _cell(document: Mapping[str, Any], resolution: str, way: str, interval: int, figure: str) -> str:
    figures = find(document, resolution=resolution, way=way, interval=interval)
    return number(figures.get(figure)) if figures else MISSING


def plots(document: Mapping[str, Any]) -> list[Plot]:
    """Return plots of the speed-up by interval, with the paper's points."""
    resolutions = list(dict.fromkeys(row["case"]["resolution"] for row in document["results"]))
    intervals = {row["case"]["interval"] for row in document["results"]}
    labels = "key-frame interval, frames", "speed-up over stylizing every frame"
    theirs = {f"paper, {r}": _curve(document, r, "warp", "paper") for r in resolutions}
    made = []
    for way in INTERPOLATIONS:
        for figure in ("as_the_paper_counts", "everything_counted"):
            title = {"as_the_paper_counts": "as in the paper", "everything_counted": "end to end"}[figure]
            ours = {r: _curve(document, r, way, figure) for r in resolutions}
            if any(len(points) < len(intervals) for points in ours.values()):
                continue  # only run at some intervals; see the table
            colors = {name: number for names in (ours, theirs) for number, name in enumerate(names)}
            curves = {name: points for name, points in (ours | theirs).items() if points}
            made.append(Plot(f"Speed-up, {way}, {title}", *labels, curves, frozenset(theirs), colors))
    return made


def _curve(document: Mapping[str, Any], resolution: str, way: str, figure: str) -> list[tuple[float, float]]:
    points = []
    for row in document["results"]:
        case, value = row["case"], row["figures"].get(figure)
        if (case["resolution"], case["way"]) == (resolution, way) and value is not None:
            points.append((case["interval"], median_of(value)))
    return points
