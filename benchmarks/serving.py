"""Serving: overhead of Triton and the gateway, and their behavior under load.

First, single requests by every route are timed in turn with the model in this process, so the overhead is a
difference between neighbors. Then load: a closed loop of clients that each wait for their reply, and an open
loop with random arrival times. Clients run on the same cores as the edge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.data import footage
from benchmarks.data.models import shipped
from benchmarks.edge_load import routes
from benchmarks.edge_load.load import QUANTILES, Connect, Load, closed_loop, open_loop
from benchmarks.harness.registry import Budget, Progress, Table
from benchmarks.harness.result import Figure, Result, Row, Value
from benchmarks.harness.tables import number, span
from benchmarks.harness.timing import Work, measure
from benchmarks.metrics.memory_usage import memory_mib
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from edge_triton.triton.server import TritonServer
from mvstylizer.bundle import Bundle

RESOLUTION: Final = "1920x1080"
CLIENTS: Final = (1, 4, 16)
SHARES: Final = (0.5, 0.8)  # open loop: request rate relative to one closed-loop client
JPEG_QUALITY: Final = 90
HERE, HERE_MAP, AS_SERVED = "in process", "in process, map", "in process, as Triton runs it"
MAP: Final = "gateway, map"
FIGURES: Final = {
    "seconds": Figure("s", "wall time of a request without other load", "lower", 0.10),
    "of_in_process": Figure("ratio", "seconds / the model in this process", "lower", 0.05),
    "throughput": Figure("1/s", "successful requests per second", "higher", 0.10),
    "p50": Figure("s", "median latency", "lower", 0.15),
    "p95": Figure("s", "95th percentile of latency", "lower", 0.25),
    "p99": Figure("s", "99th percentile of latency", "lower", 0.40),
    "answers": Figure("requests", "successful requests, the basis of the percentiles"),
    "errors": Figure("requests", "failed or refused requests", "lower"),
    "memory_mib": Figure("MiB", "proportional set size of the edge (gateway, Triton, stubs)", "lower", 0.10),
}


def run(
    budget: Budget, progress: Progress, *, bundle: Path | None = None, resolution: str = RESOLUTION
) -> Result:
    """Measure.

    Args:
        budget: Time budget.
        progress: Receives lines of progress.
        bundle: Model bundle; defaults to the bundled model.
        resolution: Frame size.

    Raises:
        MVStylizerError: The bundle cannot be loaded, or a server does not start.
    """
    model = shipped([bundle] if bundle else [])[0]
    frame = footage.photo(*footage.size(resolution))
    seconds, clients = budget.pick(5.0, 0.5), budget.pick(CLIENTS, CLIENTS[:1])
    with ExitStack() as stack:
        here = stack.enter_context(OnnxStylizer(model, threads=budget.threads))
        sample = routes.SampleRequest(model, frame, here.encode_style(footage.style()))
        progress("serving: starting Triton and an edge")
        edge = stack.enter_context(_edge(model, sample, budget.threads, max(clients)))
        rows = latency_rows(here, model, edge, budget, progress)
        # After the warm-up, when all pools have been allocated.
        rows += [_memory_row("before load", edge)]
        for name, connect in edge.ways().items():
            for count in clients:
                progress(f"serving: {name}, {count} clients")
                load = closed_loop(connect, count, seconds)
                rows.append(load_row({"loop": "closed", "way": name, "clients": count}, load))
        capacity = _throughput(rows, MAP)
        for share in SHARES:
            progress(f"serving: {MAP}, open loop at {share:.0%} of one client's rate")
            load = open_loop(edge.ways()[MAP], max(clients), share * capacity, 2 * seconds)
            rows.append(load_row({"loop": "open", "way": MAP, "share": share}, load))
        rows.append(_memory_row("after load", edge))
    settings = {
        "resolution": resolution,
        "seconds": seconds,
        "threads": budget.threads,
        "jpeg_quality": JPEG_QUALITY,
        "models": {model.name: model.version},
    }
    return Result("serving", FIGURES, rows, settings)


@dataclass(frozen=True)
class ServingSetup:
    """The servers to measure: Triton alone, and a whole edge.

    Attributes:
        triton: Triton alone.
        address: Address of the edge's gateway.
        tokens: One token per client, because the gateway limits requests per token.
        process: Process of the edge.
        sample: The request to both.
    """

    triton: TritonServer
    address: str
    tokens: Sequence[str]
    process: psutil.Process
    sample: routes.SampleRequest

    def ways(self) -> dict[str, Connect]:
        """Return a function that connects a client, by route."""

        def gateway(number_: int, **options: Any) -> Any:
            reply = options.pop("reply", "image")
            return routes.client(self.address, self.sample, reply, token=self.tokens[number_], **options)

        return {
            "Triton, shared memory": lambda _: routes.shared_memory(
                self.triton.address, self.sample, self.triton.prefix
            ),
            "Triton, gRPC": lambda _: routes.client(self.triton.address, self.sample, "image"),
            "gateway, raw": gateway,
            "gateway, JPEG": partial(gateway, jpeg_quality=JPEG_QUALITY),
            MAP: partial(gateway, reply="map", frugal=True),
        }


def latency_rows(
    here: OnnxStylizer, model: Bundle, edge: ServingSetup, budget: Budget, progress: Progress
) -> list[Row]:
    """Time single requests by each route, in turn with the model in this process."""
    progress("serving: single requests by every route")
    with ExitStack() as stack:
        work: dict[str, Work] = {
            HERE: routes.in_process(here, edge.sample, "image"),
            HERE_MAP: routes.in_process(here, edge.sample, "map"),
            AS_SERVED: routes.in_process_as_served(model, edge.sample, budget.threads),
            **{name: stack.enter_context(connect(0)) for name, connect in edge.ways().items()},
        }
        times = measure(work, repeats=budget.pick(15, 1), warmup=budget.pick(2, 1))
    rows = []
    for name, seconds in times.items():
        figures: dict[str, Value] = {"seconds": seconds}
        if name not in (HERE, HERE_MAP):
            figures["of_in_process"] = times.ratio(name, HERE_MAP if name == MAP else HERE)
        rows.append(Row({"loop": "one at a time", "way": name}, figures))
    return rows


def load_row(case: dict[str, str | int | float], load: Load) -> Row:
    """Return the figures of a load; without replies there are no percentiles."""
    figures: dict[str, Value] = {
        "throughput": load.throughput,
        "answers": float(len(load.latencies)),
        "errors": float(load.errors.total()),
        **{name: load.quantile(share) for name, share in QUANTILES.items()},
    }
    return Row(case, figures)


@contextmanager
def _edge(model: Bundle, sample: routes.SampleRequest, threads: int, clients: int) -> Iterator[ServingSetup]:
    with (
        TritonServer(model.path, threads=threads) as triton,
        routes.serving(model.path, clients) as (address, tokens, pid),
    ):
        yield ServingSetup(triton, address, tokens, psutil.Process(pid), sample)


def _throughput(rows: Sequence[Row], way: str) -> float:
    row = next(row for row in rows if row.case == {"loop": "closed", "way": way, "clients": 1})
    found = row.figures["throughput"]
    return float(found) if isinstance(found, float) else 1.0


def _memory_row(when: str, edge: ServingSetup) -> Row:
    return Row({"memory": when}, {"memory_mib": memory_mib(edge.process)})


def tables(document: Mapping[str, Any]) -> list[Table]:
    """Return tables of single requests, load and memory."""
    by_loop: dict[str, list[Mapping[str, Any]]] = {}
    for row in document["results"]:
        by_loop.setdefault(row["case"].get("loop", "memory"), []).append(row)
    resolution = document["settings"]["resolution"]
    single = [
        [row["case"]["way"], span(row["figures"]["seconds"]), number(row["figures"].get("of_in_process"))]
        for row in by_loop["one at a time"]
    ]
    return [
        Table(f"Single request at {resolution}", ["route", "seconds", "/ in process"], single),
        _load_table("Closed loop: each client waits for its reply", by_loop["closed"], "clients"),
        _load_table(
            "Open loop: random arrival times, by share of one client's rate", by_loop["open"], "share"
        ),
        Table(
            "Memory of the edge",
            ["when", "MiB"],
            [[row["case"]["memory"], number(row["figures"]["memory_mib"])] for row in by_loop["memory"]],
        ),
    ]


def _load_table(title: str, rows: Sequence[Mapping[str, Any]], by: str) -> Table:
    columns = ("throughput", "p50", "p95", "p99")
    return Table(
        title,
        ["route", by, "requests/s", "p50, s", "p95, s", "p99, s", "replies", "errors"],
        [
            [
                row["case"]["way"],
                str(row["case"][by]),
                *(number(row["figures"][name]) for name in columns),
                *(f"{row['figures'][name]:.0f}" for name in ("answers", "errors")),
            ]
            for row in rows
        ],
    )
