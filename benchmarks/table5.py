"""Table 5: latency of a key frame to New York, Los Angeles and Hong Kong over an emulated network.

The paper's times are proportional to the round trip for every place, as expected of a connection with 64 KB
in flight. Hence every transfer is measured twice: with that window, and with that of today's TCP.
Payloads have the sizes that the kit sends: a JPEG key frame and the stylized JPEG, or the smaller key frame
for a bilateral grid and the packed grid. Stylization time is not included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.data import footage, paper
from benchmarks.data.models import shipped
from benchmarks.harness.registry import Budget, Progress, Table
from benchmarks.harness.result import Case, Figure, Result, Row, Value, find
from benchmarks.harness.tables import number, span
from benchmarks.harness.timing import spread
from benchmarks.network.emulation import best_emulator, emulated
from benchmarks.network.exchange import Exchange
from benchmarks.network.link import Emulator, Link
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from device_runtime.stylizers.resize import shrunk
from edge_triton.client.encoding import Wire
from edge_triton.client.grid_codec import pack_grid
from edge_triton.client.jpeg import encode_jpeg
from mvstylizer.bundle import Bundle

PLACES: Final = {"New York": 0.005, "Los Angeles": 0.056, "Hong Kong": 0.172}
"""Round-trip seconds from Boston."""
RATE: Final = 100e6  # bits per second
WINDOWS: Final = {"64 KB": 65_536, "today's": None}
JPEG_QUALITY: Final = 90
WARM, COLD = (9, 1), (3, 1)  # repeats of a case, full and quick
NEAR: Final = 0.02  # round-trip seconds below which cold cases have as many repeats as warm ones
FIGURES: Final = {
    "up_seconds": Figure("s", "until the key frame's last byte has reached the server", "lower", 0.10),
    "there_and_back_seconds": Figure("s", "until the reply's last byte has reached the phone", "lower", 0.10),
    "up_bytes": Figure("B", "size of the key frame as sent", "lower", 0.01),
    "down_bytes": Figure("B", "size of the reply as sent", "lower", 0.01),
    "paper_seconds": Figure("s", "the paper, from Boston"),
    "of_paper": Figure("ratio", "up_seconds / paper_seconds", noise=0.10),
    "of_edge": Figure("ratio", "up_seconds / up_seconds to New York in the same case", noise=0.10),
}
_NOTES: Final = {
    "tun": "Emulated: two network namespaces with the kernel's TCP (cubic), and a process that forwards "
    "packets with a delay and a rate limit; packets are lost only if the queue (0.2 s) is full.",
    "proxy": "Emulated: a TCP proxy on loopback with delay, rate limit, slow start and window; no loss.",
}
Sizes = dict[str, tuple[int, int]]


def run(
    budget: Budget,
    progress: Progress,
    *,
    bundle: Path | None = None,
    emulator: Emulator | None = None,
    resolutions: Sequence[str] | None = None,
) -> Result:
    """Measure.

    Args:
        budget: Time budget.
        progress: Receives lines of progress.
        bundle: Model bundle; defaults to the bundled model.
        emulator: How to emulate the network; None uses the best one that works on this machine.
        resolutions: Frame sizes; defaults to the paper's, or to the largest of them if quick.

    Raises:
        MVStylizerError: The bundle cannot be loaded, or the kernel refuses a network namespace.
    """
    model = shipped([bundle] if bundle else [])[0]
    progress("table5: sizes of key frames and replies")
    wanted = resolutions or budget.pick(paper.RESOLUTIONS, paper.ENDS[1:])
    sizes = {resolution: wire_sizes(model, resolution, budget.threads) for resolution in wanted}
    chosen = emulator or best_emulator()
    rows: list[Row] = []
    for place, round_trip_s in PLACES.items():
        for name, window in WINDOWS.items():
            progress(f"table5: {place}, {name} window ({chosen})")
            with emulated(Link(round_trip_s, RATE, window), chosen) as exchange:
                for case, size in _cases(place, name, sizes):
                    rows.append(_row(case, exchange, size, budget, rows))
    settings = {
        "emulated": chosen,
        "round_trip_s": PLACES,
        "bits_a_second": RATE,
        "repeats": {"warm": budget.pick(*WARM), "cold": budget.pick(*COLD), "near": NEAR},
        "jpeg_quality": JPEG_QUALITY,
    }
    return Result("table5", FIGURES, rows, settings, [_NOTES[chosen]])


def wire_sizes(bundle: Bundle, resolution: str, threads: int) -> Sizes:
    """Return the bytes of a key frame and of its reply, by kind of reply."""
    frame = footage.photo(*footage.size(resolution))
    small = shrunk(frame, int(bundle.network["network_pixels"]))
    with OnnxStylizer(bundle, threads=threads) as stylizer:
        code = stylizer.encode_style(footage.style())
        image = stylizer.stylize(frame, code, reply="image").image
        grid = stylizer.stylize(small, code, reply="map").grid
    if image is None or grid is None:
        raise ValueError("the stylizer gave no image or no map")
    frugal = Wire(is_frugal=True).packed("frame", small[None])
    return {
        "image": (len(encode_jpeg(frame, JPEG_QUALITY)), len(encode_jpeg(image, JPEG_QUALITY))),
        "map": (len(frugal[0]), len(pack_grid(grid))),
    }


def _cases(place: str, window: str, sizes: Mapping[str, Sizes]) -> Iterator[tuple[Case, tuple[int, int]]]:
    for resolution, replies in sizes.items():
        for reply, size in replies.items():
            for connection in ("warm", "cold"):
                case: Case = {
                    "place": place,
                    "resolution": resolution,
                    "reply": reply,
                    "window": window,
                    "connection": connection,
                }
                yield case, size


def _row(case: Case, exchange: Exchange, size: tuple[int, int], budget: Budget, before: Sequence[Row]) -> Row:
    if case["connection"] == "warm":
        exchange.warm(*size)
        times = [exchange.warm(*size) for _ in range(budget.pick(*WARM))]
    else:
        repeats = WARM if PLACES[str(case["place"])] < NEAR else COLD
        times = [exchange.cold(*size) for _ in range(budget.pick(*repeats))]
    up = spread(each.up for each in times)
    figures: dict[str, Value] = {
        "up_seconds": up,
        "there_and_back_seconds": spread(each.there_and_back for each in times),
        "up_bytes": float(size[0]),
        "down_bytes": float(size[1]),
    }
    theirs = paper.LATENCY_SECONDS[str(case["place"])].get(str(case["resolution"]))
    if theirs is not None and case["reply"] == "image":
        figures |= {"paper_seconds": theirs, "of_paper": up.scaled(1 / theirs)}
    edge = next((row for row in before if row.case == {**case, "place": next(iter(PLACES))}), None)
    reference = edge.figures["up_seconds"] if edge else None
    if reference is not None and not isinstance(reference, float):
        figures["of_edge"] = up.median / reference.median
    return Row(case, figures)


def tables(document: Mapping[str, Any]) -> list[Table]:
    """Return the paper's table, and the same for map replies and for new connections."""
    return [
        _table(document, "Table 5: upload time of a key frame", "image", "warm"),
        _table(document, "Upload time for a map reply", "map", "warm"),
        _table(document, "Upload time over a new connection", "image", "cold"),
    ]


def _table(document: Mapping[str, Any], title: str, reply: str, connection: str) -> Table:
    rows = []
    for resolution in dict.fromkeys(row["case"]["resolution"] for row in document["results"]):
        for window in WINDOWS:
            cells = [resolution, window]
            for place in PLACES:
                case = {"place": place, "resolution": resolution, "reply": reply, "window": window}
                figures = find(document, **case, connection=connection) or {}
                cells += [span(figures.get("up_seconds")), number(figures.get("paper_seconds"))]
            sent = find(document, resolution=resolution, reply=reply) or {}
            rows.append([*cells, f"{sent['up_bytes'] / 1e3:.0f}", f"{sent['down_bytes'] / 1e3:.0f}"])
    header = ["frame", "window", *(cell for place in PLACES for cell in (place, "paper"))]
    return Table(
        title,
        [*header, "kB sent", "kB received"],
        rows,
        "Seconds over an emulated network, without stylization.",
    )
