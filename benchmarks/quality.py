"""Quality: photorealism and style of our models, color transport (MKL) and other methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.data.models import shipped
from benchmarks.data.pairs import Pair, free_pairs, look_pairs, pair_names, read_pair
from benchmarks.harness.contact_sheet import write_sheet
from benchmarks.harness.registry import Budget, Progress, Table
from benchmarks.harness.result import Figure, Result, Row, Value, find
from benchmarks.harness.tables import number
from benchmarks.metrics.gram import GramDistance
from benchmarks.metrics.mkl import transported
from benchmarks.metrics.similarity import (
    at_long_side,
    edge_ssim,
    luma,
    psnr,
    resized,
    sliced_wasserstein,
    ssim,
)
from device_runtime.interpolation.interpolator import blended
from device_runtime.media.photo import read_photo
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer

Picture = NDArray[np.uint8]
Method = Callable[[Pair], Picture | None]

ALL_LAYERS: Final = 4
FIGURES: Final = {
    "pairs": Figure("pairs", "number of pairs with a result; all means are over these"),
    "edge_ssim": Figure(
        "ratio", "SSIM of Sobel magnitudes of luma to the content, long side 512", "higher", 0.005
    ),
    "ssim": Figure("ratio", "SSIM of luma to the content", "higher", 0.005),
    "relative_gram": Figure(
        "ratio", "mean over VGG16's relu1_2, 2_2, 3_3, 4_3 of |G_out - G_style| / |G_style|", "lower", 0.005
    ),
    "relative_gram_to_relu3_3": Figure("ratio", "the same over relu1_2, 2_2 and 3_3", "lower", 0.005),
    "wasserstein_lab": Figure(
        "Lab", "sliced 2-Wasserstein distance of the colors to the style", "lower", 0.01
    ),
    "look_psnr": Figure(
        "dB", "PSNR to the known result, for pairs made from one photo with two grades", "higher", 0.005
    ),
    "identity_error": Figure(
        "gray levels", "mean absolute change with the content as its own style", "lower", 0.02
    ),
}


def run(
    budget: Budget,
    progress: Progress,
    *,
    pairs: Path | None = None,
    peers: Sequence[Path] = (),
    photos: Path | None = None,
    look_count: int | None = None,
    bundles: Sequence[Path] = (),
    strengths: Sequence[float] = (1.0, 0.8),
    vgg: Path | None = None,
    sheet: Path | None = None,
    pairs_sheet: Path | None = None,
) -> Result:
    """Measure.

    Args:
        budget: Time budget.
        progress: Receives lines of progress.
        pairs: Folder of ``NN_content`` and ``NN_style`` photos; defaults to the free pairs.
        peers: Folders of other methods' results, ``NN.jpg`` or ``NN.png``, named after the method.
        photos: Photos for pairs with known results; defaults to the free photos.
        look_count: Number of pairs with known results; defaults to 24, or fewer if quick.
        bundles: Model bundles; defaults to all bundled models.
        strengths: Style strengths, for every model.
        vgg: VGG16 weights up to relu4_3; by default the Gram distance ends at relu3_3.
        sheet: Output file for a contact sheet of the free pairs.
        pairs_sheet: Output file for a contact sheet of `pairs` with the peers.

    Raises:
        MVStylizerError: A folder, photo, bundle or weights file cannot be used.
    """
    names = pair_names(pairs)[: budget.pick(None, 4)] if pairs else []
    free = free_pairs()[: budget.pick(None, 1)]
    scored = [read_pair(pairs, name) for name in names] if pairs else free
    scorer = _Scorer(vgg)
    models = shipped(bundles)
    with ExitStack() as stack:
        stylizers = {m.name: stack.enter_context(OnnxStylizer(m, threads=budget.threads)) for m in models}
        full = {name: _ours(stylizer) for name, stylizer in stylizers.items()}
        ours = {
            (name if strength == 1 else f"{name}, strength {strength:g}"): _weakened(method, strength)
            for name, method in full.items()
            for strength in strengths
        }
        methods: dict[str, Method] = {**ours, "MKL": _mkl, **{folder.name: _peer(folder) for folder in peers}}
        looks = look_pairs(photos, look_count or budget.pick(24, 1))
        rows = []
        for name, method in methods.items():
            progress(f"quality: {name}, {len(scored)} pairs")
            figures = scorer.means(method, scored)
            if name in ours or name == "MKL":
                found = [psnr(_made(method, Pair("", p.content, p.style)), p.target) for p in looks]
                figures["look_psnr"] = float(np.mean(found))
                own = [Pair("", p.content, p.content) for p in scored]
                figures["identity_error"] = float(np.mean([_change(method, pair) for pair in own]))
            rows.append(Row({"method": name}, figures))
        _draw(sheet, free, {**{name: ours[name] for name in full if name in ours}, "MKL": _mkl})
        _draw(pairs_sheet, scored, methods)
    settings = {
        "pairs": len(scored),
        "pairs_from": pairs.name if pairs else "scikit-image and samples",
        "look_pairs": len(looks),
        "gram_layers": [f"relu{layer}" for layer in scorer.layers],
        "models": {bundle.name: bundle.version for bundle in models},
    }
    return Result("quality", FIGURES, rows, settings)


class _Scorer:
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


def _ours(stylizer: OnnxStylizer) -> Callable[[Pair], Picture]:
    made: dict[tuple[int, int], tuple[Pair, Picture]] = {}

    def method(pair: Pair) -> Picture:
        """Stylize a pair once; all strengths blend the same picture."""
        photos = id(pair.content), id(pair.style)  # unique while the pair is referenced by the cache
        if photos not in made:
            image = stylizer.stylize(pair.content, stylizer.encode_style(pair.style)).image
            if image is None:
                raise ValueError("the stylizer gave no image")
            made[photos] = pair, image
        return made[photos][1]

    return method


def _weakened(full: Callable[[Pair], Picture], strength: float) -> Method:
    return lambda pair: blended(pair.content, full(pair), strength)


def _mkl(pair: Pair) -> Picture:
    return transported(pair.content, pair.style)


def _peer(folder: Path) -> Method:
    def method(pair: Pair) -> Picture | None:
        found = next((p for e in ("png", "jpg") if (p := folder / f"{pair.name}.{e}").is_file()), None)
        return None if found is None else read_photo(found)

    return method


def _made(method: Method, pair: Pair) -> Picture:
    made = method(pair)
    if made is None:
        raise ValueError("a method that can be run gave no result")
    return made


def _change(method: Method, pair: Pair) -> float:
    return float(np.abs(_made(method, pair).astype(np.float32) - pair.content).mean())


def _draw(path: Path | None, pairs: Sequence[Pair], methods: Mapping[str, Method]) -> None:
    if path is not None:
        rows = [[pair.content, pair.style, *(method(pair) for method in methods.values())] for pair in pairs]
        write_sheet(path, ["content", "style", *methods], rows)


def tables(document: Mapping[str, Any]) -> list[Table]:
    """Return a table with one row per method."""
    columns = {
        "edge_ssim": "edge SSIM ↑",
        "ssim": "SSIM ↑",
        "relative_gram": "rel. Gram ↓",
        "relative_gram_to_relu3_3": "rel. Gram to 3_3 ↓",
        "wasserstein_lab": "Wasserstein Lab ↓",
        "look_psnr": "known pairs, dB ↑",
        "identity_error": "identity, |Δ| ↓",
    }
    shown = {name: title for name, title in columns.items() if name in document["figures"]}
    rows = []
    for row in document["results"]:
        figures = find(document, method=row["case"]["method"]) or {}
        rows.append([row["case"]["method"], *(number(figures.get(name)) for name in shown)])
    caption = f"Means over {document['settings']['pairs']} pairs ({document['settings']['pairs_from']})."
    return [Table("Quality: photorealism and style", ["method", *shown.values()], rows, caption)]
