"""Mean figures of a stylization method over pairs of photos, and over cases with a known answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.data.lut_truth import TruthCase
from benchmarks.data.pairs import LookPair, Pair
from benchmarks.harness.result import Value
from benchmarks.metrics.artefacts import artefacts
from benchmarks.metrics.gram import GramDistance
from benchmarks.metrics.similarity import (
    at_long_side,
    edge_ssim,
    luma,
    psnr,
    resized,
    sliced_wasserstein,
    ssim,
)
from benchmarks.metrics.truth import truth

Picture = NDArray[np.uint8]
Method = Callable[[Pair], Picture | None]

ALL_LAYERS: Final = 4


def reference_figures(method: Method, looks: Sequence[LookPair], pairs: Sequence[Pair]) -> dict[str, Value]:
    """Return the figures that need new results of a method: known pairs, and contents as their own style."""
    known = [psnr(_made(method, Pair("", look.content, look.style)), look.target) for look in looks]
    own = [_change(method, Pair("", pair.content, pair.content)) for pair in pairs]
    return {"look_psnr": float(np.mean(known)), "identity_error": float(np.mean(own))}


class Scorer:
    """Scores results; features of styles are cached between methods."""

    def __init__(self, vgg: Path | None) -> None:
        self._distance = GramDistance(vgg)
        self.layers = self._distance.layers
        self._styles: dict[str, list[Any]] = {}

    def means(self, method: Method, pairs: Sequence[Pair]) -> dict[str, Value]:
        """Return the mean figures of a method over the pairs with a result."""
        scores = [self._score(pair, made) for pair in pairs if (made := method(pair)) is not None]
        means: dict[str, Value] = {"pairs": len(scores)}
        for name in scores[0] if scores else ():
            means[name] = float(np.mean([score[name] for score in scores]))
        return means

    def _score(self, pair: Pair, made: Picture) -> dict[str, float]:
        content = at_long_side(pair.content)
        style = at_long_side(pair.style)
        result = resized(made, content.shape[1], content.shape[0])
        if pair.name not in self._styles:
            self._styles[pair.name] = self._distance.grams(style)
        wanted, got = self._styles[pair.name], self._distance.grams(result)
        scores = {
            "edge_ssim": edge_ssim(content, result),
            "ssim": ssim(luma(content), luma(result)),
            "relative_gram_to_relu3_3": self._distance(got[:3], wanted[:3]),
            "wasserstein_lab": sliced_wasserstein(result, style),
        }
        if len(self.layers) == ALL_LAYERS:
            scores["relative_gram"] = self._distance(got, wanted)
        return scores


def artefact_figures(method: Method, pairs: Sequence[Pair]) -> dict[str, Value]:
    """Return the mean artefacts of a method over the pairs with a result."""
    measured = [vars(artefacts(p.content, p.style, made)) for p in pairs if (made := method(p)) is not None]
    return _means(measured)


def truth_figures(method: Method, cases: Sequence[tuple[Pair, TruthCase]]) -> dict[str, Value]:
    """Return the mean distances of a method to known answers."""
    measured = []
    for pair, case in cases:
        found = truth(_made(method, pair), case.target)
        measured.append(
            {
                "truth_psnr": found.psnr,
                "truth_ssim": found.ssim,
                "truth_delta_e": found.delta_e,
                "truth_histogram": found.histogram_correlation,
            }
        )
    return _means(measured)


def _means(measured: Iterable[Mapping[str, float | None]]) -> dict[str, Value]:
    """Return the mean of each figure over the rows that have it."""
    rows = list(measured)
    means: dict[str, Value] = {}
    for name in rows[0] if rows else ():
        values = [value for row in rows if (value := row[name]) is not None]
        if values:
            means[name] = float(np.mean(values))
    return means


def _made(method: Method, pair: Pair) -> Picture:
    made = method(pair)
    if made is None:
        raise ValueError("a method that can be run gave no result")
    return made


def _change(method: Method, pair: Pair) -> float:
    return float(np.abs(_made(method, pair).astype(np.float32) - pair.content).mean())
