"""The TFLite kernels compared with OpenCV, PyTorch and a copy of the frame.

All cases run in turn in one process, on the same frame and backward flow, with one and two threads. Whole
frames are timed including strips, planes and thumbnails, with given flow or map; work per key frame is a
separate case. Kernels of one static size, made for accelerators, are timed as single invocations on the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from benchmarks.data import footage, paper
from benchmarks.data.footage import Picture
from benchmarks.data.models import shipped
from benchmarks.harness.registry import Budget, Progress, Table
from benchmarks.harness.result import Figure, Result, Row, Value
from benchmarks.harness.tables import number, span
from benchmarks.harness.timing import Timings, Work, measure
from device_runtime.kernels import KeyFrameScore, Transfer, Warp
from device_runtime.kernels.key_frame import LUMA_SHAPE
from device_runtime.media.color import BT601, LIMITED_RANGE, Color, codes_of
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from mvstylizer.bundle import Bundle
from mvstylizer.stylizer import BilateralGrid

Flow = NDArray[np.float32]

THREADS: Final = (1, 2)
REACH: Final = 8.0  # pixels, a fast pan at 1080p
SIZED: Final = ("warp_accel", "transfer_accel")  # kernels of one static size that run on a CPU
BT601_LIMITED: Final = Color(BT601, LIMITED_RANGE, BT601, BT601, BT601)  # what OpenCV converts to
FIGURES: Final = {
    "seconds": Figure("s", "wall time per frame", "lower", 0.10),
    "of_opencv": Figure("ratio", "seconds / OpenCV's add and remap", "lower", 0.10),
    "of_torch": Figure("ratio", "seconds / torch's grid_sample", "lower", 0.10),
    "of_copy": Figure("ratio", "seconds / copying the frame", "lower", 0.20),
    "of_warp": Figure("ratio", "seconds / the warp kernel", "lower", 0.10),
}


def run(
    budget: Budget,
    progress: Progress,
    *,
    bundle: Path | None = None,
    resolutions: Sequence[str] = paper.RESOLUTIONS,
) -> Result:
    """Measure.

    Args:
        budget: Time budget.
        progress: Receives lines of progress.
        bundle: Model bundle; defaults to the bundled model.
        resolutions: Frame sizes.

    Raises:
        MVStylizerError: The bundle cannot be loaded, or the footage is missing.
    """
    model = shipped([bundle] if bundle else [])[0]
    repeats = budget.pick(25, 3)
    rows = []
    for resolution in resolutions:
        width, height = footage.size(resolution)
        frame, flow = footage.photo(width, height), smooth_flow(width, height)
        with OnnxStylizer(model, threads=budget.threads) as stylizer:
            reply = stylizer.stylize(frame, stylizer.encode_style(footage.style()), reply="both")
        if reply.image is None or reply.grid is None:
            raise ValueError("the stylizer gave no image or no map")
        for threads in (count for count in THREADS if count <= budget.threads):
            progress(f"kernels: {resolution}, {threads} thread{'s' * (threads > 1)}")
            with ExitStack() as stack:
                work = cases(stack, model, frame, reply.image, reply.grid, flow, threads)
                times = measure(work, repeats=repeats, warmup=3)
            rows += [_row(resolution, threads, name, times) for name in times]
    settings = {
        "repeats": repeats,
        "flow": f"smooth, up to {REACH:g} pixels",
        "models": {model.name: model.version},
    }
    return Result("kernels", FIGURES, rows, settings)


def smooth_flow(width: int, height: int) -> Flow:
    """Return a smooth backward flow, float32 (H, W, 2), that also points outside the frame."""
    rows, columns = np.indices((height, width), np.float32)
    waves = np.sin(rows / 97 + columns / 131), np.cos(columns / 113 - rows / 79)
    return np.asarray(REACH * np.stack(waves, axis=-1), np.float32)


def cases(
    stack: ExitStack,
    bundle: Bundle,
    frame: Picture,
    key: Picture,
    grid: BilateralGrid,
    flow: Flow,
    threads: int,
) -> dict[str, Work]:
    """Return the cases to time, by name.

    Args:
        stack: Closes the kernels.
        bundle: Model bundle.
        frame: uint8 RGB (H, W, 3), an intermediate frame.
        key: The stylized key frame, same size.
        grid: float32 (rows, columns, bins, 3, 4), its map.
        flow: Backward flow, float32 (H, W, 2).
        threads: Threads of every library.
    """
    cv2.setNumThreads(threads)
    torch.set_num_threads(threads)
    warp = stack.enter_context(Warp(bundle.file("warp"), threads=threads))
    transfer = stack.enter_context(Transfer(bundle.file("transfer"), threads=threads))
    decide, luma = KeyFrameScore(bundle.file("key_frame")), _thumbnail(frame)
    warp.set_key(key)
    out = np.empty_like(frame)
    i420, codes = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420), np.uint8), codes_of(BT601_LIMITED)
    height, width, _ = frame.shape
    y, (u, v) = i420[:height], i420[height:].reshape(2, height // 2, width // 2)
    return {
        "copy": lambda: np.copyto(out, frame),
        "opencv": _opencv(key, flow, out),
        "torch": _torch(key, flow),
        "warp": lambda: warp(flow),
        "warp, new key": lambda: warp.set_key(key),
        "transfer": lambda: transfer(frame, grid),
        "transfer, 4:2:0": lambda: transfer.yuv((y, u, v), grid, codes),
        "key_frame": lambda: decide(_thumbnail(frame), luma, threshold=0.5, gap=1, max_gap=30),
        **_sized(bundle, flow, threads),
    }


def _opencv(key: Picture, flow: Flow, out: Picture) -> Work:
    """Warp with OpenCV: add the flow to the grid, then remap."""
    rows, columns = np.indices(flow.shape[:2], np.float32)
    grid, place = np.stack([columns, rows], axis=-1), np.empty_like(flow)

    def remap() -> None:
        cv2.add(grid, flow, place)
        cv2.remap(key, place, None, cv2.INTER_LINEAR, out, cv2.BORDER_REPLICATE)  # type: ignore[call-overload]

    return remap


def _torch(key: Picture, flow: Flow) -> Work:
    """Warp with PyTorch on float32 NCHW; converting the key frame is not timed."""
    height, width = flow.shape[:2]
    source = torch.from_numpy(key.transpose(2, 0, 1)[None].astype(np.float32))
    rows, columns = np.indices((height, width), np.float32)
    grid = torch.from_numpy(np.stack([columns, rows], axis=-1))[None]
    scale = torch.tensor([2 / width, 2 / height])
    moving = torch.from_numpy(flow)[None]

    def sample() -> torch.Tensor:
        place = (grid + moving + 0.5) * scale - 1
        return F.grid_sample(source, place, padding_mode="border", align_corners=False)

    return sample


def _sized(bundle: Bundle, flow: Flow, threads: int) -> dict[str, Work]:
    """Return the bundle's kernels of this static size that run on a CPU."""
    height, width = flow.shape[:2]
    known = {"flow_x": flow[None, ..., :1], "flow_y": flow[None, ..., 1:]}
    work: dict[str, Work] = {}
    for kind in SIZED:
        role = f"{kind}_{width}x{height}"
        if role in {spec.role for spec in bundle.files}:
            interpreter = Interpreter(str(bundle.file(role)), num_threads=threads)
            interpreter.allocate_tensors()
            for tensor in interpreter.get_input_details():
                noise = np.random.default_rng(0).random(tensor["shape"])
                value = known.get(tensor["name"], noise).astype(tensor["dtype"])
                interpreter.set_tensor(tensor["index"], value)
            work[kind] = interpreter.invoke
    return work


def _thumbnail(frame: Picture) -> NDArray[np.uint8]:
    small = cv2.resize(frame, LUMA_SHAPE[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)


def _row(resolution: str, threads: int, name: str, times: Timings) -> Row:
    figures: dict[str, Value] = {"seconds": times[name]}
    for other in ("opencv", "torch", "copy", "warp"):
        if other != name:
            figures[f"of_{other}"] = times.ratio(name, other)
    return Row({"resolution": resolution, "threads": threads, "kernel": name}, figures)


def tables(document: Mapping[str, Any]) -> list[Table]:
    """Return a table per number of threads."""
    rows = document["results"]
    counts = sorted({row["case"]["threads"] for row in rows})
    return [_table([row for row in rows if row["case"]["threads"] == count], count) for count in counts]


def _table(rows: Sequence[Mapping[str, Any]], threads: int) -> Table:
    cells = []
    for row in rows:
        figures = row["figures"]
        milliseconds = {key: value * 1e3 for key, value in figures["seconds"].items()}
        milliseconds["runs"] = figures["seconds"]["runs"]
        ratios = [number(figures.get(f"of_{other}")) for other in ("opencv", "torch", "copy", "warp")]
        cells.append([row["case"]["resolution"], row["case"]["kernel"], span(milliseconds), *ratios])
    return Table(
        f"Kernels, {threads} thread{'s' * (threads > 1)}",
        ["frame", "kernel", "ms", "/ OpenCV", "/ torch", "/ copy", "/ warp"],
        cells,
        "OpenCV: add and remap. torch: grid_sample in float32. copy: copying the frame.",
    )
