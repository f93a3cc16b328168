"""Table 1: time to stylize a key frame, by resolution and model, compared with the paper and peers."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from benchmarks.data import footage, paper
from benchmarks.data.models import shipped
from benchmarks.data.peers import Peer, PeerError
from benchmarks.harness.registry import Budget, Progress, Table
from benchmarks.harness.result import Case, Figure, Result, Row, Value, find, median_of
from benchmarks.harness.tables import MISSING, number, span
from benchmarks.harness.timing import Timings, Work, measure, spread
from benchmarks.metrics.macs import count_macs
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from device_runtime.stylizers.resize import shrunk
from mvstylizer.bundle import Bundle

Reply = Literal["image", "map"]

REPLIES: Final[tuple[Reply, ...]] = ("image", "map")
FLOOR: Final = "matrix product"  # reference case, timed in the same rounds as the networks
FLOOR_SIDE: Final = 2048
FLOOR_GMACS: Final = FLOOR_SIDE**3 / 1e9
FIGURES: Final = {
    "seconds": Figure("s", "wall time to stylize a key frame with a given style code", "lower", 0.10),
    "style_seconds": Figure("s", "wall time to compute the style code, once per style", "lower", 0.10),
    "paper_seconds": Figure("s", f"MVStylizer in the paper at this resolution, on a {paper.GPU}"),
    "gmacs": Figure("GMAC", "multiply-adds of convolutions and matrix products, counted in a run"),
    "floor_seconds": Figure(
        "s", "lower bound: gmacs / speed of a matrix product on the same cores", noise=0.10
    ),
    "of_floor": Figure("ratio", "seconds / floor_seconds, per round", "lower", 0.10),
    "process_seconds": Figure("s", "wall time of a peer's process, including loading", "lower", 0.15),
}


def run(
    budget: Budget,
    progress: Progress,
    *,
    bundles: Sequence[Path] = (),
    peers: Sequence[str] = (),
    resolutions: Sequence[str] | None = None,
) -> Result:
    """Measure.

    Args:
        budget: Time budget.
        progress: Receives lines of progress.
        bundles: Model bundles; defaults to all bundled models.
        peers: ``NAME=COMMAND`` each, see `Peer`.
        resolutions: Frame sizes; defaults to the paper's, or to the smallest of them if quick.

    Raises:
        MVStylizerError: A bundle cannot be loaded, or a peer is invalid.
    """
    wanted: Sequence[str] = resolutions or budget.pick(paper.RESOLUTIONS, paper.ENDS[:1])
    others = [Peer.parse(text) for text in peers]
    models = shipped(bundles)
    runners = [_Runner(bundle, device, budget.threads) for bundle in models for device in devices()]
    rows = [_paper_row(method, resolution) for method in _METHODS for resolution in wanted]
    notes: list[str] = []
    for resolution in wanted:
        progress(f"table1: {resolution}")
        rows += _resolution(runners, resolution, budget)
        for peer in others:
            row, note = _peer_row(peer, resolution, budget)
            rows.append(row)
            notes += note
    settings = {
        "repeats": budget.pick(7, 2),
        "style_size": "x".join(map(str, footage.style().shape[1::-1])),
        "models": {bundle.name: bundle.version for bundle in models},
    }
    return Result("table1", FIGURES, rows, settings, notes)


def devices() -> list[str]:
    """Return ``cpu``, and ``cuda`` if ONNX Runtime supports it."""
    return ["cpu", *(["cuda"] if "CUDAExecutionProvider" in onnxruntime.get_available_providers() else [])]


@dataclass
class _Runner:
    """A model on a device."""

    bundle: Bundle
    device: str
    threads: int

    def __post_init__(self) -> None:
        provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}[self.device]
        self._stylizer = OnnxStylizer(self.bundle, threads=self.threads, provider=provider)
        self._code = self._stylizer.encode_style(footage.style())

    def case(self, resolution: str, reply: Reply) -> Case:
        return {"model": self.bundle.name, "device": self.device, "resolution": resolution, "reply": reply}

    def style(self) -> Work:
        photo = footage.style()
        return lambda: self._stylizer.encode_style(photo)

    def stylize(self, frame: NDArray[np.uint8], reply: Reply) -> Work:
        """Return the work of one key frame; for a map the phone sends a frame of the network's size."""
        sent = self._sent(frame, reply)
        return lambda: self._stylizer.stylize(sent, self._code, reply=reply)

    def gmacs(self, frame: NDArray[np.uint8], reply: Reply) -> float:
        inputs: dict[str, NDArray[Any]] = {
            "frame": self._sent(frame, reply)[None],
            "style_code": self._code[None],
            "r": np.ones(1, np.float32),
        }
        output = {"image": "stylized", "map": "grid"}[reply]
        return count_macs(self.bundle.file("stylizer"), inputs, [output]) / 1e9

    def _sent(self, frame: NDArray[np.uint8], reply: Reply) -> NDArray[np.uint8]:
        return shrunk(frame, int(self.bundle.network["network_pixels"])) if reply == "map" else frame


def _resolution(runners: Sequence[_Runner], resolution: str, budget: Budget) -> list[Row]:
    frame = footage.photo(*footage.size(resolution))
    work: dict[str, Work] = {FLOOR: _matrix_product()}
    for number_, runner in enumerate(runners):
        work |= {f"{number_} {reply}": runner.stylize(frame, reply) for reply in REPLIES}
        work[f"{number_} style"] = runner.style()
    times = measure(work, repeats=budget.pick(7, 2))
    rows = []
    for number_, runner in enumerate(runners):
        for reply in REPLIES:
            name = f"{number_} {reply}"
            gmacs = round(runner.gmacs(frame, reply), 3)
            figures: dict[str, Value] = {
                "seconds": times[name],
                "style_seconds": times[f"{number_} style"],
                "gmacs": gmacs,
            }
            theirs = paper.STYLIZATION_SECONDS["MVStylizer"].get(resolution)
            if theirs is not None:
                figures["paper_seconds"] = theirs
            if runner.device == "cpu":
                figures |= _floor(times, name, gmacs)
            rows.append(Row(runner.case(resolution, reply), figures))
    return rows


def _matrix_product() -> Work:
    """Return a float32 matrix product of `FLOOR_GMACS` multiply-adds, the best speed of the cores."""
    left = np.random.default_rng(0).random((FLOOR_SIDE, FLOOR_SIDE), np.float32)
    out = np.empty_like(left)
    return lambda: np.matmul(left, left, out=out)


def _floor(times: Timings, name: str, gmacs: float) -> dict[str, Value]:
    """Return the lower bound for a number of multiply-adds, and the ratio of a case to it."""
    share = gmacs / FLOOR_GMACS
    return {
        "floor_seconds": times[FLOOR].scaled(share),
        "of_floor": times.ratio(name, FLOOR).scaled(1 / share),
    }


_METHODS: Final = tuple(paper.STYLIZATION_SECONDS)


def _paper_row(method: str, resolution: str) -> Row:
    case: Case = {
        "model": f"paper: {method}",
        "device": paper.GPU,
        "resolution": resolution,
        "reply": "image",
    }
    return Row(case, {"seconds": paper.STYLIZATION_SECONDS[method].get(resolution)})


def _peer_row(peer: Peer, resolution: str, budget: Budget) -> tuple[Row, list[str]]:
    """Time a peer; if it fails, return an empty row and a note."""
    case: Case = {
        "model": peer.name,
        "device": "set by its command",
        "resolution": resolution,
        "reply": "image",
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        content, style = folder / "content.png", folder / "style.png"
        cv2.imwrite(str(content), footage.photo(*footage.size(resolution))[..., ::-1])
        cv2.imwrite(str(style), footage.style()[..., ::-1])
        try:
            runs = [peer.run(content, style, folder / "out.png") for _ in range(budget.pick(4, 1))]
        except PeerError as err:
            return Row(case, {"seconds": None}), [str(err)]
    runs = runs[1:] or runs  # the first run warms the disk cache
    reported = [run.seconds for run in runs if run.seconds is not None]
    whole = spread(run.process_seconds for run in runs)
    note = (
        [] if reported else [f"{peer.name} does not report its own time: seconds are of the whole process."]
    )
    figures: dict[str, Value] = {"seconds": spread(reported) if reported else whole, "process_seconds": whole}
    return Row(case, figures), note


def tables(document: Mapping[str, Any]) -> list[Table]:
    """Return tables of seconds per frame and of ratios to the paper, by method and resolution."""
    cases = [row["case"] for row in document["results"]]
    resolutions = list(dict.fromkeys(case["resolution"] for case in cases))
    methods = list(dict.fromkeys((case["model"], case["device"], case["reply"]) for case in cases))
    rows, ratios = [], []
    for model, device, reply in methods:
        found = [
            find(document, model=model, device=device, reply=reply, resolution=resolution)
            for resolution in resolutions
        ]
        title = [model if model.startswith("paper") else f"{model}, {reply}", device]
        rows.append([*title, *(_seconds(model, figures) for figures in found)])
        if not model.startswith("paper"):
            ratios.append([*title, *map(_ratio, resolutions, found)])
    header = ["method", "device", *resolutions]
    threads = document["metadata"]["threads"]
    return [
        Table(
            "Table 1: time to stylize a key frame",
            header,
            rows,
            f"Seconds per key frame, median (minimum–maximum), on {threads} CPU cores. In brackets: ratio to "
            "the lower bound, that is multiply-adds / speed of a matrix product on the same cores.",
        ),
        Table(
            "Table 1: ratio to MVStylizer in the paper",
            header,
            ratios,
            f"Time on this machine / time in the paper on a {paper.GPU}; below 1 is faster.",
        ),
    ]


def _seconds(model: str, figures: Mapping[str, Any] | None) -> str:
    if figures is None:
        return MISSING
    if figures.get("seconds") is None:
        return "> 1000" if model == "paper: Luan et al." else "failed"
    floor = figures.get("of_floor")
    return span(figures["seconds"]) + (f" [{number(floor, digits=2)}×]" if floor else "")


def _ratio(resolution: str, figures: Mapping[str, Any] | None) -> str:
    theirs = paper.STYLIZATION_SECONDS["MVStylizer"].get(resolution)
    if theirs is None or figures is None or figures.get("seconds") is None:
        return MISSING
    return number(median_of(figures["seconds"]) / theirs)
