"""Table 2: time to interpolate a frame, compared with stylizing one, and time of every stage.

Measured at three levels: the kernels alone with flow or map given (the paper measures a remap); a frame
interpolated from both sides as the kit does; and whole runs over a clip by stage, with recorded edge replies.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.data import footage, paper
from benchmarks.data.models import shipped
from benchmarks.harness.registry import Budget, Progress, Table
from benchmarks.harness.result import Case, Figure, Result, Row, Value, find, median_of
from benchmarks.harness.tables import MISSING, number
from benchmarks.harness.timing import Timings, Work, measure_in_blocks, spread
from benchmarks.runs.pipeline_run import STAGES, RecordedStylizer, run_clip
from device_runtime.interpolation.interpolator import KeyFrameResult, TransferInterpolator, WarpInterpolator
from device_runtime.kernels import Transfer, Warp
from device_runtime.motion.flow import DisFlow, Motion
from device_runtime.options import Interpolation
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from mvstylizer.bundle import Bundle

INTERPOLATIONS: Final[tuple[Interpolation, ...]] = ("warp", "transfer")
INTERVAL: Final = 15
QUICK_FRAMES: Final = INTERVAL + 1  # two key frames
STYLIZE: Final = "stylize"
FIGURES: Final = {
    "seconds": Figure("s", "wall time to interpolate a frame", "lower", 0.10),
    "of_opencv": Figure("ratio", "seconds / OpenCV's add and remap, per round", "lower", 0.10),
    "of_copy": Figure("ratio", "seconds / copying the frame, the memory lower bound", "lower", 0.15),
    "of_warp": Figure("ratio", "seconds / the warp kernel", "lower", 0.10),
    "paper_seconds": Figure("s", "the paper, on a Pixel 2, without optical flow"),
    "stylize_seconds": Figure("s", "wall time to stylize a frame in process, same cores", "lower", 0.10),
    "speed_up": Figure("ratio", "stylize_seconds / seconds, per block of rounds", "higher", 0.15),
    "paper_speed_up": Figure("ratio", "the paper: stylization / interpolation"),
    "wall_seconds": Figure("s", "wall time of a whole run per frame, with recorded replies", "lower", 0.10),
    **{
        stage: Figure("s", f"{text} per frame of the clip, in its own thread", "lower", 0.20)
        for stage, text in STAGES.items()
    },
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
        frames: Number of frames of whole runs; defaults to 90, or fewer if quick.

    Raises:
        MVStylizerError: The bundle cannot be loaded, or the footage is missing.
    """
    cv2.setNumThreads(budget.threads)
    model = shipped([bundle] if bundle else [])[0]
    filmed = footage.frames(footage.clip("bigbuckbunny"), frames or budget.pick(None, QUICK_FRAMES))
    count = frames or budget.pick(90, QUICK_FRAMES)
    wanted: Sequence[str] = resolutions or budget.pick(paper.RESOLUTIONS, paper.ENDS[:1])
    rows: list[Row] = []
    with OnnxStylizer(model, threads=budget.threads) as stylizer:
        for resolution in wanted:
            progress(f"table2: {resolution}, one frame")
            rows += _one_frame(model, stylizer, filmed, resolution, budget)
            for interpolation in INTERPOLATIONS:
                progress(f"table2: {resolution}, a clip with {interpolation}")
                rows.append(_whole_run(model, stylizer, filmed, resolution, interpolation, count, budget))
    settings = {
        "repeats": budget.pick(15, 3),
        "clip": "bigbuckbunny.mp4, resized",
        "clip_frames": count,
        "interval": INTERVAL,
        "models": {model.name: model.version},
    }
    return Result("table2", FIGURES, rows, settings)


@dataclass(frozen=True)
class _Scene:
    """A frame between two stylized key frames, and its motion to both."""

    past: KeyFrameResult
    frame: NDArray[np.uint8]
    following: KeyFrameResult
    motions: tuple[Motion, Motion]


def _one_frame(
    bundle: Bundle,
    stylizer: OnnxStylizer,
    filmed: list[NDArray[np.uint8]],
    resolution: str,
    budget: Budget,
) -> list[Row]:
    width, height = footage.size(resolution)
    scene = _scene(stylizer, [footage.fitted(filmed[place], width, height) for place in (0, 2, 4)])
    code = stylizer.encode_style(footage.style())
    with _kernels(bundle, scene, budget.threads) as work:
        times, per_block = measure_in_blocks(
            lambda: stylizer.stylize(scene.frame, code),
            work,
            blocks=budget.pick(5, 1),
            repeats=3,
            name=STYLIZE,
        )
    return [Row(_case(resolution, way), _figures(way, times, per_block, resolution)) for way in times]


def _case(resolution: str, way: str) -> Case:
    return {"resolution": resolution, "way": way}


def _figures(name: str, times: Timings, per_block: Timings, resolution: str) -> dict[str, Value]:
    figures: dict[str, Value] = {
        "seconds": times[name],
        "of_opencv": times.ratio(name, "opencv"),
        "of_copy": times.ratio(name, "copy"),
    }
    if name == "transfer":
        figures["of_warp"] = times.ratio(name, "warp")
    if name in INTERPOLATIONS:
        figures |= {"stylize_seconds": per_block[STYLIZE], "speed_up": per_block.ratio(STYLIZE, name)}
        theirs, whole = paper.INTERPOLATION_SECONDS.get(resolution), paper.STYLIZATION_SECONDS["MVStylizer"]
        if theirs is not None:
            figures |= {"paper_seconds": theirs, "paper_speed_up": (whole[resolution] or 0) / theirs}
    return figures


def _scene(stylizer: OnnxStylizer, pictures: list[NDArray[np.uint8]]) -> _Scene:
    past, frame, following = pictures
    code = stylizer.encode_style(footage.style())
    keys = [KeyFrameResult(key, stylizer.stylize(key, code, reply="both")) for key in (past, following)]
    flow = DisFlow()
    small = flow.prepare(frame)
    motions = [flow.follow(flow.prepare(key))(small) for key in (past, following)]
    return _Scene(keys[0], frame, keys[1], (motions[0], motions[1]))


@contextmanager
def _kernels(bundle: Bundle, scene: _Scene, threads: int) -> Iterator[dict[str, Work]]:
    """Yield the cases, from a plain copy to a frame interpolated from both sides."""
    height, width = scene.frame.shape[:2]
    flow = scene.motions[0].flow_on(height, width)
    image, grid = scene.past.reply.image, scene.past.reply.grid
    if image is None or grid is None:
        raise ValueError("the scene was stylized without image or map")
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
    target, out = np.empty_like(pixels), np.empty_like(scene.frame)

    def opencv() -> None:
        cv2.add(flow, pixels, target)
        cv2.remap(image, target, None, cv2.INTER_LINEAR, out, cv2.BORDER_REPLICATE)  # type: ignore[call-overload]

    def between(interpolator: WarpInterpolator | TransferInterpolator) -> Work:
        interpolator.begin(scene.past, scene.following)
        return lambda: interpolator.between(scene.frame, *scene.motions, 0.5)

    kernel = bundle.file("warp")
    with (
        Warp(kernel, threads=threads) as warp,
        Warp(kernel, threads=threads) as past_warp,
        Warp(kernel, threads=threads) as following_warp,
        Transfer(bundle.file("transfer"), threads=threads) as transfer,
    ):
        warp.set_key(image)
        yield {
            "copy": lambda: np.copyto(out, scene.frame),
            "opencv": opencv,
            "warp": lambda: warp(flow),
            "transfer": lambda: transfer(scene.frame, grid),
            "warp, both sides": between(WarpInterpolator(past_warp, following_warp, transfer)),
            "transfer, both sides": between(TransferInterpolator(transfer)),
        }


def _whole_run(
    bundle: Bundle,
    stylizer: OnnxStylizer,
    filmed: list[NDArray[np.uint8]],
    resolution: str,
    interpolation: Interpolation,
    frames: int,
    budget: Budget,
) -> Row:
    width, height = footage.size(resolution)
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "clip.mp4"
        footage.write_clip(source, footage.back_and_forth(filmed, frames), width, height)
        replies = RecordedStylizer(stylizer)
        policy = f"every:{min(INTERVAL, frames)}"
        run_clip(source, replies, bundle, policy, interpolation)  # records the replies, and warms up
        reports = [run_clip(source, replies, bundle, policy, interpolation) for _ in range(budget.pick(3, 1))]
    figures: dict[str, Value] = {
        "wall_seconds": spread(report.seconds["total"] / report.frames for report in reports)
    }
    for stage in STAGES:
        figures[stage] = spread(report.seconds[stage] / report.frames for report in reports)
    return Row(_case(resolution, f"{interpolation}, everything"), figures)


def tables(document: Mapping[str, Any]) -> list[Table]:
    """Return tables of single frames, of speed-ups, and of whole runs by stage."""
    resolutions = list(dict.fromkeys(row["case"]["resolution"] for row in document["results"]))
    ways = list(dict.fromkeys(row["case"]["way"] for row in document["results"]))
    single = [way for way in ways if not way.endswith("everything")]
    settings, threads = document["settings"], document["metadata"]["threads"]
    theirs = [paper.INTERPOLATION_SECONDS.get(resolution) for resolution in resolutions]
    paper_row = ["paper, Pixel 2", *(MISSING if t is None else number(t * 1000, digits=1) for t in theirs)]
    return [
        Table(
            "Table 2: time to interpolate a frame",
            ["method", *resolutions],
            [paper_row, *([way, *(_single(document, way, r) for r in resolutions)] for way in single)],
            f"Milliseconds on {threads} cores with given flow or map. In brackets: ratio to OpenCV.",
        ),
        Table(
            "Stylizing vs. interpolating a frame",
            ["method", *resolutions],
            [
                ["paper", *(_speed_up(document, "warp", r, "paper_speed_up") for r in resolutions)],
                *(
                    [way, *(_speed_up(document, way, r, "speed_up") for r in resolutions)]
                    for way in INTERPOLATIONS
                ),
            ],
            "Time to stylize a frame / time to interpolate it, without optical flow.",
        ),
        Table(
            "Whole runs, milliseconds per frame",
            ["resolution", "method", *STAGES, "wall"],
            [_stages(document, r, way) for r in resolutions for way in INTERPOLATIONS],
            f"A run over {settings['clip_frames']} frames, a key frame every {settings['interval']}, "
            "with recorded edge replies. Stages run in parallel, so their sum exceeds the wall time.",
        ),
    ]


def _single(document: Mapping[str, Any], way: str, resolution: str) -> str:
    figures = find(document, way=way, resolution=resolution)
    if figures is None:
        return MISSING
    milliseconds = number(median_of(figures["seconds"]) * 1000)
    return f"{milliseconds} [{number(figures['of_opencv'], digits=2)}×]"


def _speed_up(document: Mapping[str, Any], way: str, resolution: str, figure: str) -> str:
    figures = find(document, way=way, resolution=resolution)
    return number(figures.get(figure) if figures else None)


def _stages(document: Mapping[str, Any], resolution: str, way: str) -> list[str]:
    figures = find(document, way=f"{way}, everything", resolution=resolution) or {}
    cells = [figures.get(name) for name in (*STAGES, "wall_seconds")]
    return [resolution, way, *(MISSING if c is None else number(median_of(c) * 1000) for c in cells)]
