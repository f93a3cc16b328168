"""Table 3: Inception score and FID of stylized frames.

The paper samples 1000 frames of 512×256 and does not state the reference of its FID; here, it is the frames
before stylization. Inception score and FID require the standard Inception weights. Without them, the
distances use VGG16 features and are named accordingly: they compare our own runs, not ours with the paper's.
The distance between two halves of the frames is the lower bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from benchmarks.data import footage, paper
from benchmarks.data.footage import Picture
from benchmarks.data.models import shipped
from benchmarks.harness.registry import Budget, Progress, Table
from benchmarks.harness.result import Figure, Result, Row, Value
from benchmarks.harness.tables import number
from benchmarks.metrics.distribution import (
    Estimate,
    Features,
    Inception,
    VggFeatures,
    fid,
    inception_score,
    kid,
)
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from mvstylizer.bundle import Bundle

RESOLUTION: Final = "512x256"
OURS, UNCHANGED = "MVStylizer", "no change"
STYLES: Final = ("astronaut.png", "coffee.png", "rocket.jpg")  # in addition to the sample style
FIGURES: Final = {
    **{
        f"{name}{end}": Figure("distance", f"{about}{what}", "lower" if not end else "neither", 0.05)
        for name, about in {
            "fid": "FID on Inception's pool3, relative to the frames before stylization",
            "fid_vgg16": "FID on means of VGG16 relu4_1, to the same frames; not comparable with FID",
            "kid_vgg16": "KID on means of VGG16 relu4_1",
        }.items()
        for end, what in {"": "", "_low": ": lower end", "_high": ": upper end"}.items()
    },
    "inception_score": Figure("score", "Inception score of the pictures", "higher", 0.05),
    "inception_score_low": Figure("score", "minus two deviations over its splits"),
    "inception_score_high": Figure("score", "plus two deviations over its splits"),
    "paper_fid": Figure("distance", "the paper, 1000 frames; reference not stated"),
    "paper_inception_score": Figure("score", "the paper, 1000 frames"),
}
NO_INCEPTION: Final = (
    "Inception score and FID require the standard weights (--inception-weights inception-2015-12-05.pt); "
    "without them, distances use VGG16 features."
)


def run(
    budget: Budget, progress: Progress, *, bundle: Path | None = None, inception_weights: Path | None = None
) -> Result:
    """Measure.

    Args:
        budget: Time budget.
        progress: Receives lines of progress.
        bundle: Model bundle; defaults to the bundled model.
        inception_weights: TorchScript of the standard Inception; None uses VGG16 features only.

    Raises:
        InceptionWeightsError: The file is not a TorchScript of Inception.
        MVStylizerError: The bundle cannot be loaded, or the footage is missing.
    """
    torch.set_num_threads(budget.threads)
    inception = Inception(inception_weights) if inception_weights else None
    model = shipped([bundle] if bundle else [])[0]
    frames = _frames(budget.pick(80, 8))
    progress(f"table3: stylizing {len(frames)} frames")
    made = _stylized(model, frames, budget.threads)
    resamples = budget.pick(12, 1)
    figures: dict[str, dict[str, Value]] = {OURS: {}, UNCHANGED: {}}
    progress("table3: features of VGG16")
    for name, one, other in _compared(VggFeatures(), made, frames):
        figures[name] |= _figures("fid_vgg16", fid(one, other, resamples=resamples))
        figures[name] |= _figures("kid_vgg16", kid(one, other))
    if inception is not None:
        progress("table3: features of Inception")
        for name, one, other in _compared(inception, made, frames):
            # fewer resamples, because 2048 features are slow
            figures[name] |= _figures("fid", fid(one, other, resamples=max(3, resamples // 10)))
        for name, pictures in ((OURS, made), (UNCHANGED, frames[::2])):
            figures[name] |= _figures("inception_score", inception_score(inception.logits(pictures)))
    rows = [Row({"pictures": name}, found) for name, found in figures.items()]
    for method in paper.FID:
        theirs: dict[str, Value] = {
            "paper_fid": paper.FID[method],
            "paper_inception_score": paper.INCEPTION_SCORE[method],
        }
        rows.append(Row({"pictures": f"paper: {method}"}, theirs))
    settings = {
        "frames": len(frames),
        "resolution": RESOLUTION,
        "resamples": resamples,
        "styles": [footage.STYLE.name, *STYLES],
        "models": {model.name: model.version},
    }
    return Result("table3", FIGURES, rows, settings, [] if inception else [NO_INCEPTION])


def _frames(count: int) -> list[Picture]:
    """Return frames sampled evenly from the sample clips."""
    every = [frame for name in footage.CLIPS for frame in footage.frames(footage.clip(name))]
    step = len(every) / count
    return [footage.fitted(every[int(step * number_)], *footage.size(RESOLUTION)) for number_ in range(count)]


def _stylized(bundle: Bundle, frames: Sequence[Picture], threads: int) -> list[Picture]:
    """Stylize frames, cycling through the styles."""
    with OnnxStylizer(bundle, threads=threads) as stylizer:
        photos = [footage.style(), *map(footage.skimage_photo, STYLES)]
        codes = [stylizer.encode_style(photo) for photo in photos]
        replies = [stylizer.stylize(frame, codes[i % len(codes)]) for i, frame in enumerate(frames)]
    return [reply.image for reply in replies if reply.image is not None]


def _compared(
    network: Features, made: Sequence[Picture], frames: Sequence[Picture]
) -> list[tuple[str, Tensor, Tensor]]:
    """Return the compared sets: stylized and original frames, and two halves of the original frames."""
    ours, real = network(made), network(frames)
    return [(OURS, ours, real), (UNCHANGED, real[::2], real[1::2])]


def _figures(name: str, found: Estimate) -> dict[str, Value]:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def tables(document: Mapping[str, Any]) -> list[Table]:
    """Return a stored result as a table."""
    rows = []
    for row in document["results"]:
        figures = row["figures"]
        score, distance = figures.get("paper_inception_score"), figures.get("paper_fid")
        cells = [_cell(figures, name) for name in ("inception_score", "fid", "fid_vgg16", "kid_vgg16")]
        if score is not None:
            cells[:2] = [number(score, digits=5), number(distance, digits=5)]
        rows.append([row["case"]["pictures"], *cells])
    header = ["pictures", "Inception score", "FID", "FID, VGG16", "KID, VGG16"]
    caption = (
        f"{document['settings']['frames']} frames. In brackets: 5 to 95 % of resamples; they contain "
        "duplicates, so for small distances they lie above the figure itself."
    )
    return [Table("Table 3: distance of stylized frames to original frames", header, rows, caption)]


def _cell(figures: Mapping[str, Any], name: str) -> str:
    if name not in figures:
        return number(None)
    return f"{number(figures[name])} ({number(figures[name + '_low'])}–{number(figures[name + '_high'])})"
