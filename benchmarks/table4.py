"""Table 4: how close the frames made on the device come to stylizing every frame, and how steady they are.

The paper judges only the frame next to a key frame. Here whole clips are made at several intervals by the
kit's own pipeline, scene cuts included, and compared with the same clips stylized frame by frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_msssim import ms_ssim

from benchmarks.data import footage, paper
from benchmarks.data.models import shipped
from benchmarks.harness.registry import Effort, Say, Table
from benchmarks.harness.result import Figure, Result, Row, Value, find
from benchmarks.harness.tables import MISSING, number
from benchmarks.metrics.similarity import flicker, luma, motions, psnr, ssim, warping_errors
from benchmarks.pipeline_run import RecordedStylizer
from benchmarks.table2 import INTERPOLATIONS
from device_runtime.frames import open_pictures
from device_runtime.key_frames.scene_cuts import SceneCuts, luma_thumbnail
from device_runtime.media.reader import Frame
from device_runtime.motion.flow import Motion
from device_runtime.options import TEMPORAL_SMOOTHING_S, Interpolation, StylizeOptions
from device_runtime.report import Stopwatch
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from device_runtime.stylizers.style_mix import StyleMix
from mvstylizer.bundle import Bundle

Picture = NDArray[np.uint8]

INTERVALS: Final = (5, 15, 30)
STRIDE: Final = 5  # of the frames between that are judged: MS-SSIM costs more than making them
EVERY_FRAME: Final = "every frame"
# Steady maps, the default, leave out what wobbles from key frame to key frame. The reference, in which every
# frame is stylized by itself, wobbles, so that likeness to it is that of maps as they come.
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
    "psnr": Figure("dB", "PSNR of intermediate frames to the same frames stylized, mean", "higher", 0.005),
    "paper": Figure("ratio", "the paper's MS-SSIM at this resolution"),
    "key_frames": Figure("frames", "key frames of the clip, cuts included"),
    "ssim_to_content": Figure("ratio", "SSIM of luma to the frame as filmed, mean", "higher", 0.005),
    "warping_error": Figure(
        "grey levels",
        "RMS difference to the frame before, moved along, where both are visible",
        "lower",
        0.02,
    ),
    "warping_error_filmed": Figure("grey levels", "the same of the clip as filmed: the least to be had"),
    "flicker": Figure("grey levels", "jump of the look's mean colour from frame to frame", "lower", 0.05),
}


def run(
    effort: Effort,
    say: Say,
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
        effort: How long it may take.
        say: Takes progress.
        bundle: Model; the shipped default if None.
        clips: Names of the sample clips; all if None, only the first when quick.
        resolutions: For the frame next to a key frame; the paper's if None, only the smallest when quick.
        clip_size: Bring the clips to this size; None leaves them at their own.
        frames: Of each clip; all if None, fewer when quick.
        samples: Key frames of each clip and resolution whose next frame is judged; 4 if None, 1 when quick.

    Raises:
        MVStylizerError: The bundle cannot be loaded, or the footage is missing.
    """
    cv2.setNumThreads(effort.threads)
    torch.set_num_threads(1)
    model = shipped([bundle] if bundle else [])[0]
    clips = clips or effort.pick(footage.CLIPS, footage.CLIPS[:1])
    count = frames or effort.pick(None, 17)
    rows: list[Row] = []
    # Nothing here is timed, and a picture each on a core is faster than two cores on one picture.
    with OnnxStylizer(model, threads=1) as stylizer, ThreadPoolExecutor(effort.threads) as pool:
        kit = _Kit(model, RecordedStylizer(stylizer), pool)
        for resolution in resolutions or effort.pick(paper.RESOLUTIONS, paper.ENDS[:1]):
            say(f"table4: next to the key frame, {resolution}")
            rows += _next_to_key(kit, clips, resolution, samples or effort.pick(4, 1))
        for clip in clips:
            say(f"table4: {clip}, every frame")
            shot = _Clip.read(clip, kit, count, clip_size)
            rows.append(Row(_case(clip, EVERY_FRAME, 1), shot.steadiness(shot.stylized)))
            rows += _intervals(kit, shot, effort.pick(INTERVALS, INTERVALS[1:2]), say)
    settings = {
        "clips": {f"{clip}.mp4": count or "all frames" for clip in clips},
        "judged": f"every {STRIDE}th intermediate frame (MS-SSIM, PSNR, SSIM); all (warping error, flicker)",
        "models": {model.name: model.version},
    }
    return Result("table4", FIGURES, rows, settings)


@dataclass(frozen=True)
class _Kit:
    """The model, and the threads that its work is spread over."""

    bundle: Bundle
    stylizer: RecordedStylizer
    pool: ThreadPoolExecutor

    def stylize(self, frame: Picture) -> Picture:
        image = self.stylizer.stylize(frame, self.stylizer.encode_style(footage.style())).image
        if image is None:
            raise ValueError("the stylizer gave no image")
        return image

    @contextmanager
    def pictures(
        self, frames: Sequence[Picture], options: StylizeOptions
    ) -> Iterator[Iterator[tuple[Picture, bool]]]:
        """Make frames by the kit's pipeline; gives pictures and whether each is a key frame."""
        filmed = (
            Frame(index, rgb, pts=index, time_base=Fraction(1, 25), duration=1, codec_key=False)
            for index, rgb in enumerate(frames)
        )
        with open_pictures(
            filmed,
            StyleMix.of(footage.style()),
            options,
            stylizer=self.stylizer,
            bundle=self.bundle,
            watch=Stopwatch(),
        ) as pictures:
            yield ((each.picture, each.is_key) for each in pictures)


@dataclass(frozen=True)
class _Clip:
    """A clip as filmed and stylized frame by frame, its scenes, their motion, and their own warping error."""

    name: str
    filmed: list[Picture]
    stylized: list[Picture]
    scenes: list[slice]
    motions: list[list[Motion]]
    least_error: float

    @classmethod
    def read(cls, name: str, kit: _Kit, count: int | None, size: str | None) -> _Clip:
        filmed = footage.frames(footage.clip(name), count)
        if size:
            filmed = [footage.fitted(frame, *footage.size(size)) for frame in filmed]
        begins = SceneCuts()
        starts = [place for place, frame in enumerate(filmed) if begins(luma_thumbnail(frame))]
        ends = [*starts[1:], len(filmed)]
        scenes = [slice(start, end) for start, end in zip(starts, ends, strict=True)]
        moved = [motions(filmed[scene]) for scene in scenes]
        errors: list[float] = []
        for motion, scene in zip(moved, scenes, strict=True):
            errors += warping_errors(motion, filmed[scene])
        stylized = list(kit.pool.map(kit.stylize, filmed))
        return cls(name, filmed, stylized, scenes, moved, float(np.mean(errors)))

    def steadiness(self, shown: Sequence[Picture]) -> dict[str, Value]:
        """Return the temporal figures, within scenes only, and the likeness to the frames as filmed."""
        errors, jumps = [], []
        for scene, moved in zip(self.scenes, self.motions, strict=True):
            errors += warping_errors(moved, shown[scene])
            jumps += flicker(self.filmed[scene], shown[scene])
        likeness = [ssim(luma(a), luma(b)) for a, b in zip(self.filmed[::4], shown[::4], strict=True)]
        return {
            "warping_error": float(np.mean(errors)),
            "warping_error_filmed": self.least_error,
            "flicker": float(np.mean(jumps)),
            "ssim_to_content": float(np.mean(likeness)),
        }


def _case(clip: str, way: str, interval: int) -> dict[str, str | int | float]:
    return {"clip": clip, "way": way, "interval": interval}


def _intervals(kit: _Kit, shot: _Clip, intervals: Sequence[int], say: Say) -> list[Row]:
    """Judge every way at every interval."""

    def judge(case: tuple[str, int]) -> Row:
        say(f"table4: {shot.name}, {case[0]}, interval {case[1]}")
        return _interval(kit, shot, *case)

    return list(kit.pool.map(judge, product(WAYS, intervals)))


def _interval(kit: _Kit, shot: _Clip, way: str, interval: int) -> Row:
    interpolation, temporal_smoothing_s = WAYS[way]
    options = StylizeOptions(f"every:{interval}", interpolation, temporal_smoothing_s=temporal_smoothing_s)
    with kit.pictures(shot.filmed, options) as pictures:
        made = list(pictures)
    between = [place for place, (_, is_key) in enumerate(made) if not is_key][::STRIDE]
    likeness = [_ms_ssim(made[place][0], shot.stylized[place]) for place in between]
    figures: dict[str, Value] = {
        "ms_ssim": float(np.mean(likeness)),
        "ms_ssim_worst": min(likeness),
        "psnr": float(np.mean([psnr(made[place][0], shot.stylized[place]) for place in between])),
        "key_frames": sum(is_key for _, is_key in made),
    }
    return Row(_case(shot.name, way, interval), figures | shot.steadiness([picture for picture, _ in made]))


def _next_to_key(kit: _Kit, clips: Sequence[str], resolution: str, samples: int) -> list[Row]:
    """Judge the frame behind a key frame, made from that one alone, as the paper does."""
    width, height = footage.size(resolution)

    def judge(filmed: tuple[Picture, Picture]) -> dict[Interpolation, tuple[float, float]]:
        key, frame = (footage.fitted(each, width, height) for each in filmed)
        wanted = kit.stylize(frame)
        found: dict[Interpolation, tuple[float, float]] = {}
        for way in INTERPOLATIONS:
            with kit.pictures([key, frame], StylizeOptions("every:30", way, two_sided=False)) as pictures:
                (_, made) = (picture for picture, _ in pictures)
            found[way] = _ms_ssim(made, wanted), psnr(made, wanted)
        return found

    pairs: list[tuple[Picture, Picture]] = []
    for clip in clips:
        filmed = footage.frames(footage.clip(clip), 20 * samples)
        pairs += [(filmed[start], filmed[start + 1]) for start in range(0, len(filmed) - 1, 20)]
    scores = list(kit.pool.map(judge, pairs))
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


def _ms_ssim(first: Picture, second: Picture) -> float:
    tensors = [
        torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)[None] for picture in (first, second)
    ]
    with torch.inference_mode():
        return float(ms_ssim(tensors[0], tensors[1], data_range=255))


def tables(document: Mapping[str, Any]) -> list[Table]:
    """Lay a kept result out: the paper's table, and one of whole clips."""
    cases = [row["case"] for row in document["results"]]
    resolutions = list(dict.fromkeys(case["resolution"] for case in cases if "resolution" in case))
    next_to_key = [
        [way, *(_cell(document, figure, way=name, resolution=r) for r in resolutions)]
        for way, name, figure in (("paper", "warp", "paper"), *((w, w, "ms_ssim") for w in INTERPOLATIONS))
    ]
    columns = {
        "ms_ssim": "MS-SSIM ↑", "ms_ssim_worst": "worst ↑", "psnr": "PSNR ↑",
        "ssim_to_content": "SSIM to filmed ↑", "warping_error": "warping error ↓",
        "warping_error_filmed": "as filmed", "flicker": "flicker ↓",
    }  # fmt: skip
    clips = [
        [case["clip"], case["way"], str(case["interval"]), *(_cell(document, f, **case) for f in columns)]
        for case in cases
        if "clip" in case
    ]
    return [
        Table(
            "Table 4: the frame next to a key frame, MS-SSIM to the same frame stylized",
            ["way", *resolutions],
            next_to_key,
            "Made from the key frame before alone, as in the paper.",
        ),
        Table(
            "Whole clips against stylizing every frame",
            ["clip", "way", "interval", *columns.values()],
            clips,
            "Means over intermediate frames, scene cuts among them; error and flicker in grey levels. "
            "A low warping error rewards ghosts: read it beside MS-SSIM.",
        ),
    ]


def _cell(document: Mapping[str, Any], figure: str, **case: Any) -> str:
    figures = find(document, **case)
    return number(figures.get(figure), digits=4) if figures else MISSING
