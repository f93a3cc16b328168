"""Table 5: how long a key frame takes to an edge, to Los Angeles and to Hong Kong, over an emulated network.

The paper's times are all multiples of one round trip, in one proportion for every place: what a connection
gives that may have 64 KB under way. So the same bytes are sent twice over: with that window, and with the one
that today's TCP works out. What is sent has the sizes that the kit sends: a JPEG key frame and the stylized
JPEG back, or the smaller key frame that an affine map needs, and the packed map back. The time of the
stylization itself is not in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.data import footage, paper
from benchmarks.data.models import shipped
from benchmarks.harness.registry import Effort, Say, Table
from benchmarks.harness.result import Case, Figure, Result, Row, Value, find
from benchmarks.harness.tables import number, span
from benchmarks.harness.timing import spread
from benchmarks.network import path as network
from benchmarks.network.exchange import Exchange
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from device_runtime.stylizers.resize import shrunk
from edge_triton.client.encoding import Wire
from edge_triton.client.jpeg import encode_jpeg
from edge_triton.client.map_codec import pack_map
from mvstylizer.bundle import Bundle

PLACES: Final = {"New York": 0.005, "Los Angeles": 0.056, "Hong Kong": 0.172}
"""Seconds of a round trip from Boston."""
RATE: Final = 100e6  # bits a second
WINDOWS: Final = {"64 KB": 65_536, "today's": None}
JPEG_QUALITY: Final = 90
WARM, COLD = (9, 1), (3, 1)  # exchanges of a case; fewer when quick
NEAR: Final = 0.02  # seconds of a round trip below which a cold case has as many as a warm one
FIGURES: Final = {
    "up_seconds": Figure("s", "until the key frame's last byte is at the server", "lower", 0.10),
    "there_and_back_seconds": Figure("s", "until the reply's last byte is at the phone", "lower", 0.10),
    "up_bytes": Figure("B", "the key frame as sent", "lower", 0.01),
    "down_bytes": Figure("B", "the reply as sent", "lower", 0.01),
    "paper_seconds": Figure("s", "the paper's, from Boston"),
    "of_paper": Figure("ratio", "up_seconds / paper_seconds", noise=0.10),
    "of_edge": Figure("ratio", "up_seconds / those to New York, same row otherwise", noise=0.10),
}
_NOTES: Final = {
    "tun": "Emulated: two network namespaces with the kernel's own TCP (cubic), and a process that carries "
    "packets between them with delay and rate; no loss but a full queue's (0.2 s).",
    "proxy": "Emulated: a TCP proxy on loopback that adds delay, rate, slow start and window; no loss.",
}
Sizes = dict[str, tuple[int, int]]


def run(
    effort: Effort,
    say: Say,
    *,
    bundle: Path | None = None,
    way: network.Way | None = None,
    resolutions: Sequence[str] | None = None,
) -> Result:
    """Measure.

    Args:
        effort: How long it may take.
        say: Takes progress.
        bundle: Whose stylizations are sent back; the shipped default's if None.
        way: Of emulating; None = the best that this machine can.
        resolutions: Frame sizes; the paper's if None, only the largest of them when quick.

    Raises:
        MVStylizerError: The bundle cannot be loaded, or the kernel refuses a namespace.
    """
    model = shipped([bundle] if bundle else [])[0]
    say("table5: key frames and replies as they are sent")
    wanted = resolutions or effort.pick(paper.RESOLUTIONS, paper.ENDS[1:])
    sizes = {resolution: wire_sizes(model, resolution, effort.threads) for resolution in wanted}
    chosen = way or network.way_here()
    rows: list[Row] = []
    for place, round_trip_s in PLACES.items():
        for name, window in WINDOWS.items():
            say(f"table5: {place}, {name} window ({chosen})")
            path = network.Path(round_trip_s, RATE, window)
            with network.emulated(path, chosen) as exchange:
                for case, size in _cases(place, name, sizes):
                    rows.append(_row(case, exchange, size, effort, rows))
    settings = {
        "emulated": chosen, "round_trip_s": PLACES, "bits_a_second": RATE,
        "repeats": {"warm": effort.pick(*WARM), "cold": effort.pick(*COLD), "near": NEAR},
        "jpeg_quality": JPEG_QUALITY,
    }  # fmt: skip
    return Result("table5", FIGURES, rows, settings, [_NOTES[chosen]])


def wire_sizes(bundle: Bundle, resolution: str, threads: int) -> Sizes:
    """Return the bytes of a key frame and of its reply, for each kind of reply."""
    frame = footage.photo(*footage.size(resolution))
    small = shrunk(frame, int(bundle.network["network_pixels"]))
    with OnnxStylizer(bundle, threads=threads) as stylizer:
        code = stylizer.encode_style(footage.style())
        image = stylizer.stylize(frame, code, reply="image").image
        affine_map = stylizer.stylize(small, code, reply="map").affine_map
    if image is None or affine_map is None:
        raise ValueError("the stylizer gave no image or no map")
    frugal = Wire(is_frugal=True).packed("frame", small[None])
    return {
        "image": (len(encode_jpeg(frame, JPEG_QUALITY)), len(encode_jpeg(image, JPEG_QUALITY))),
        "map": (len(frugal[0]), len(pack_map(affine_map.reshape(*affine_map.shape[:2], 12)))),
    }


def _cases(place: str, window: str, sizes: Mapping[str, Sizes]) -> Iterator[tuple[Case, tuple[int, int]]]:
    for resolution, replies in sizes.items():
        for reply, size in replies.items():
            for connection in ("warm", "cold"):
                yield {
                    "place": place, "resolution": resolution, "reply": reply, "window": window,
                    "connection": connection,
                }, size  # fmt: skip


def _row(case: Case, exchange: Exchange, size: tuple[int, int], effort: Effort, before: Sequence[Row]) -> Row:
    if case["connection"] == "warm":
        exchange.warm(*size)
        times = [exchange.warm(*size) for _ in range(effort.pick(*WARM))]
    else:
        repeats = WARM if PLACES[str(case["place"])] < NEAR else COLD
        times = [exchange.cold(*size) for _ in range(effort.pick(*repeats))]
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
    beside = edge.figures["up_seconds"] if edge else None
    if beside is not None and not isinstance(beside, float):
        figures["of_edge"] = up.median / beside.median
    return Row(case, figures)


def tables(document: Mapping[str, Any]) -> list[Table]:
    """Lay a kept result out: the paper's table, then what a map and a cold connection make of it."""
    return [
        _table(document, "Table 5: a key frame up", "image", "warm"),
        _table(document, "The same for a map reply", "map", "warm"),
        _table(document, "The same over a new connection each", "image", "cold"),
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
    header = ["frame", "window", *(cell for place in PLACES for cell in (f"{place}, s", "paper"))]
    return Table(title, [*header, "kB up", "kB back"], rows, "Emulated network; stylization not counted.")
