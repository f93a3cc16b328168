"""Scores on held-out truth: `python -m training.look.evaluate --photos DIR --luts FILE --look CHECKPOINT`.

A case is an ungraded photo P, another photo Q under a held-out LUT L, and the answer L(P).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from mvstylizer.stylizer import Match
from training.look.data import load_luts, load_photo, split
from training.look.heads import GlobalHeads
from training.look.lut import apply_lut

LONG_SIDE = 480  # pixels


@dataclass(frozen=True)
class Case:
    """One case; images are 1×3×H×W in [0, 1]."""

    content: Tensor
    style: Tensor
    truth: Tensor


@dataclass(frozen=True)
class Scores:
    """Distance to the truth: PSNR in dB, SSIM, mean CIEDE2000, correlation of 16³ color histograms."""

    psnr: float
    ssim: float
    delta_e: float
    histogram: float


def cases(photos: list[Path], luts: Tensor, count: int, seed: int = 7) -> Iterator[Case]:
    """Yield `count` cases that go through photos and LUTs in turn, with a random other photo as style."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        other = (index + 1 + int(rng.integers(len(photos) - 1))) % len(photos)
        content = load_photo(photos[index % len(photos)], LONG_SIDE)
        lut = luts[index % len(luts)].unsqueeze(0)
        style = _eight_bits(apply_lut(lut, load_photo(photos[other], LONG_SIDE)))
        yield Case(content, style, _eight_bits(apply_lut(lut, content)))


def compare(result: Tensor, truth: Tensor) -> Scores:
    """Score a picture (1×3×H×W in [0, 1]) against the truth."""
    from skimage.color import deltaE_ciede2000, rgb2lab
    from skimage.metrics import structural_similarity

    ours, theirs = (x[0].permute(1, 2, 0).double().numpy() for x in (_eight_bits(result), truth))
    histograms = [
        cv2.calcHist([(255 * x).round().astype(np.uint8)], [0, 1, 2], None, [16] * 3, [0, 256] * 3).flatten()
        for x in (ours, theirs)
    ]
    return Scores(
        psnr=float(-10 * np.log10(max(1e-8, ((ours - theirs) ** 2).mean()))),
        ssim=float(structural_similarity(ours, theirs, channel_axis=2, data_range=1.0)),  # type: ignore[no-untyped-call]
        delta_e=float(deltaE_ciede2000(rgb2lab(ours), rgb2lab(theirs)).mean()),  # type: ignore[no-untyped-call]
        histogram=float(cv2.compareHist(histograms[0], histograms[1], cv2.HISTCMP_CORREL)),
    )


def evaluate(heads: GlobalHeads | None, held_out: Iterator[Case], match: Match = 0.0) -> Scores:
    """Return the mean scores of a head, or of the content left unchanged."""
    rows = []
    for case in held_out:
        result = (
            apply_lut(heads(case.content, case.style, match).lut, case.content) if heads else case.content
        )
        rows.append(list(asdict(compare(result, case.truth)).values()))
    return Scores(*np.mean(rows, axis=0).tolist())


def main() -> None:
    """Parse the command line and print the scores as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of photos")
    parser.add_argument("--luts", type=Path, required=True, help=".npz file of grading LUTs")
    parser.add_argument("--look", type=Path, required=True, help="checkpoint of the look network")
    parser.add_argument("--count", type=int, default=64, help="cases")
    parser.add_argument("--all-luts", action="store_true", help="use every LUT of the file, not the hold-out")
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = split(args.photos, args.luts)
    luts = load_luts(args.luts) if args.all_luts else data.test_luts
    for name, heads in (("unchanged", None), ("look", GlobalHeads.load(args.look))):
        scores = evaluate(heads, cases(data.test_photos, luts, args.count))
        print(json.dumps({"head": name, "cases": args.count, **asdict(scores)}))  # noqa: T201


def _eight_bits(image: Tensor) -> Tensor:
    return (255 * image.clamp(0, 1)).round() / 255


if __name__ == "__main__":
    main()
