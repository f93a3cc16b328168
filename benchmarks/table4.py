"""Table 4: similarity of interpolated frames to stylizing every frame, and their temporal stability.

The paper evaluates only the frame next to a key frame. Here, the kit's pipeline also processes whole clips at
several intervals, including scene cuts, and the result is compared with stylizing every frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.data import footage, paper
from benchmarks.data.models import shipped
from benchmarks.harness.registry import Budget, Progress, Table
from benchmarks.harness.result import Figure, Result, Row, Value, find
from benchmarks.harness.tables import MISSING, number
from benchmarks.metrics.similarity import psnr
from benchmarks.runs.clip_quality import Kit, ReferenceClip, picture_ms_ssim
from benchmarks.runs.pipeline_run import RecordedStylizer
from benchmarks.table2 import INTERPOLATIONS
from device_runtime.options import TEMPORAL_SMOOTHING_S, Interpolation, StylizeOptions
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer

Picture = NDArray[np.uint8]

INTERVALS: Final = (5, 15, 30)
STRIDE: Final = 5  # of evaluated intermediate frames: MS-SSIM is slower than interpolation
EVERY_FRAME: Final = "every frame"
# Smoothed maps, the default, suppress flicker between key frames. The reference stylizes every frame
# independently and flickers, so unsmoothed maps are more similar to it.
WAYS: Final[dict[str, tuple[Interpolation, float]]] = {
    "warp": ("warp", 0.0),
    "transfer": ("transfer", 0.0),
    "transfer, steady": ("transfer", TEMPORAL_SMOOTHING_S),
}
FIGURES: Final = {
    "ms_ssim": Figure(
        "ratio", "MS-SSIM (RGB) of intermediate frames to the same frames stylized", "higher", 0.002
    ),
    "ms_ssim_worst": Figure("ratio", "the lowest of them", "higher", 0.01),
    "psnr": Figure("dB", "mean PSNR of intermediate frames to the same frames stylized", "higher", 0.005),
    "paper": Figure("ratio", "MS-SSIM in the paper at this resolution"),
    "key_frames": Figure("frames", "key frames of the clip, including scene cuts"),
    "ssim_to_content": Figure("ratio", "mean SSIM of luma to the source frame", "higher", 0.005),
    "warping_error": Figure(
        "gray levels",
        "RMS difference to the warped previous frame, where both are visible",
        "lower",
        0.02,
    ),
    "warping_error_filmed": Figure("gray levels", "warping error of the source clip, for reference"),
    "flicker": Figure("gray levels", "change of the mean color offset from frame to frame", "lower", 0.05),
}
COLUMNS: Final = {
    "ms_ssim": "MS-SSIM ↑",
    "ms_ssim_worst": "worst ↑",
    "psnr": "PSNR ↑",
    "ssim_to_content": "SSIM to source ↑",
    "warping_error": "warping error ↓",
    "warping_error_filmed": "of source",
    "flicker": "flicker ↓",
}


def run(
    budget: Budget,
    progress: Progress,
    *,
    bundle: Path | None = None,
    clips: Sequence[str] | None = None,
    resolutions: Sequence[str] | None = None,
    clip_size: str | None = None,
    frames: int | None = None,
    samples: int | None = None,
) -> Result:
    """Measure.

    Args:
        budget: Time budget.
        progress: Receives lines of progress.
        bundle: Model bundle; defaults to the bundled model.
        clips: Names of the sample clips; defaults to all, or to the first if quick.
        resolutions: Sizes for the frame next to a key frame; the paper's, or the smallest if quick.
        clip_size: Resize the clips to this size; None keeps their size.
        frames: Frames per clip; defaults to all, or fewer if quick.
        samples: Key frames per clip and resolution whose next frame is evaluated; 4, or 1 if quick.

    Raises:
        MVStylizerError: The bundle cannot be loaded, or the footage is missing.
    """
    cv2.setNumThreads(budget.threads)
    torch.set_num_threads(1)
    model = shipped([bundle] if bundle else [])[0]
    clips = clips or budget.pick(footage.CLIPS, footage.CLIPS[:1])
    count = frames or budget.pick(None, 17)
    rows: list[Row] = []
    # One picture per core is faster than two cores on one picture; nothing is timed here.
    with OnnxStylizer(model, threads=1) as stylizer, ThreadPoolExecutor(budget.threads) as pool:
        kit = Kit(model, RecordedStylizer(stylizer), pool)
        for resolution in resolutions or budget.pick(paper.RESOLUTIONS, paper.ENDS[:1]):
            progress(f"table4: next to the key frame, {resolution}")
            rows += _next_to_key(kit, clips, resolution, samples or budget.pick(4, 1))
        for clip in clips:
            progress(f"table4: {clip}, every frame")
            shot = ReferenceClip.read(clip, kit, count, clip_size)
            rows.append(Row(_case(clip, EVERY_FRAME, 1), shot.steadiness(shot.stylized)))
            rows += _intervals(kit, shot, budget.pick(INTERVALS, INTERVALS[1:2]), progress)
    settings = {
        "clips": {f"{clip}.mp4": count or "all frames" for clip in clips},
        "judged": f"every {STRIDE}th intermediate frame (MS-SSIM, PSNR, SSIM); all (warping error, flicker)",
        "models": {model.name: model.version},
    }
    return Result("table4", FIGURES, rows, settings)


def _case(clip: str, way: str, interval: int) -> dict[str, str | int | float]:
    return {"clip": clip, "way": way, "interval": interval}


def _intervals(kit: Kit, shot: ReferenceClip, intervals: Sequence[int], progress: Progress) -> list[Row]:
    """Evaluate every method at every interval."""

    def evaluate(case: tuple[str, int]) -> Row:
        progress(f"table4: {shot.name}, {case[0]}, interval {case[1]}")
        return _interval(kit, shot, *case)

    return list(kit.pool.map(evaluate, product(WAYS, intervals)))


def _interval(kit: Kit, shot: ReferenceClip, way: str, interval: int) -> Row:
    interpolation, temporal_smoothing_s = WAYS[way]
    options = StylizeOptions(f"every:{interval}", interpolation, temporal_smoothing_s=temporal_smoothing_s)
    with kit.pictures(shot.filmed, options) as pictures:
        made = list(pictures)
    between = [place for place, (_, is_key) in enumerate(made) if not is_key][::STRIDE]
    likeness = [picture_ms_ssim(made[place][0], shot.stylized[place]) for place in between]
    figures: dict[str, Value] = {
        "ms_ssim": float(np.mean(likeness)),
        "ms_ssim_worst": min(likeness),
        "psnr": float(np.mean([psnr(made[place][0], shot.stylized[place]) for place in between])),
        "key_frames": sum(is_key for _, is_key in made),
    }
    return Row(_case(shot.name, way, interval), figures | shot.steadiness([picture for picture, _ in made]))


def _next_to_key(kit: Kit, clips: Sequence[str], resolution: str, samples: int) -> list[Row]:
    """Evaluate the frame after a key frame, interpolated from that key frame only, as in the paper."""
    width, height = footage.size(resolution)

    def evaluate(filmed: tuple[Picture, Picture]) -> dict[Interpolation, tuple[float, float]]:
        key, frame = (footage.fitted(each, width, height) for each in filmed)
        wanted = kit.stylize(frame)
        found: dict[Interpolation, tuple[float, float]] = {}
        for way in INTERPOLATIONS:
            with kit.pictures([key, frame], StylizeOptions("every:30", way, two_sided=False)) as pictures:
                (_, made) = (picture for picture, _ in pictures)
            found[way] = picture_ms_ssim(made, wanted), psnr(made, wanted)
        return found

    pairs: list[tuple[Picture, Picture]] = []
    for clip in clips:
        filmed = footage.frames(footage.clip(clip), 20 * samples)
        pairs += [(filmed[start], filmed[start + 1]) for start in range(0, len(filmed) - 1, 20)]
    scores = list(kit.pool.map(evaluate, pairs))
    rows = []
    for way in INTERPOLATIONS:
        likeness, noise = zip(*(found[way] for found in scores), strict=True)
        figures: dict[str, Value] = {
            "ms_ssim": float(np.mean(likeness)),
            "ms_ssim_worst": min(likeness),
            "psnr": float(np.mean(noise)),
        }
        if resolution in paper.MS_SSIM:
            figures["paper"] = paper.MS_SSIM[resolution]
        rows.append(Row({"resolution": resolution, "way": way, "distance": 1}, figures))
    return rows


def tables(document: Mapping[str, Any]) -> list[Table]:
    """Return the paper's table, and one of whole clips."""
    cases = [row["case"] for row in document["results"]]
    resolutions = list(dict.fromkeys(case["resolution"] for case in cases if "resolution" in case))
    next_to_key = [
        [way, *(_cell(document, figure, way=name, resolution=r) for r in resolutions)]
        for way, name, figure in (("paper", "warp", "paper"), *((w, w, "ms_ssim") for w in INTERPOLATIONS))
    ]
    clips = [
        [case["clip"], case["way"], str(case["interval"]), *(_cell(document, f, **case) for f in COLUMNS)]
        for case in cases
        if "clip" in case
    ]
    return [
        Table(
            "Table 4: frame next to a key frame, MS-SSIM to the same frame stylized",
            ["method", *resolutions],
            next_to_key,
            "Interpolated from the previous key frame only, as in the paper.",
        ),
        Table(
            "Whole clips compared with stylizing every frame",
            ["clip", "method", "interval", *COLUMNS.values()],
            clips,
            "Means over intermediate frames, including scene cuts; error and flicker in gray levels. "
            "Ghosting lowers the warping error, so read it together with MS-SSIM.",
        ),
    ]


def _cell(document: Mapping[str, Any], figure: str, **case: Any) -> str:
    figures = find(document, **case)
    return number(figures.get(figure), digits=4) if figures else MISSING
