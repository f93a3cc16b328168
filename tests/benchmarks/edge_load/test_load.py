"""Load generators with known requests: ones that sleep or fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from benchmarks.edge_load.load import Connect, Load, closed_loop, open_loop
from benchmarks.harness.timing import Work
from mvstylizer.errors import MVStylizerError

REQUEST_S = 0.02


def connect_to(request: Work, opened: list[int], closed: list[int]) -> Connect:
    @contextmanager
    def connect(number: int) -> Iterator[Work]:
        opened.append(number)
        try:
            yield request
        finally:
            closed.append(number)

    return connect


def test_clients_send_requests_until_time_is_up() -> None:
    opened: list[int] = []
    closed: list[int] = []
    load = closed_loop(connect_to(lambda: time.sleep(REQUEST_S), opened, closed), 3, 0.2)
    assert sorted(opened) == sorted(closed) == [0, 1, 2]
    # Each client sends at least one, and at most as many as fit in sequence.
    assert 3 <= len(load.latencies) <= 3 * (1 + load.wall / REQUEST_S)
    assert min(load.latencies) >= REQUEST_S
    assert load.wall >= 0.2
    assert load.throughput == pytest.approx(len(load.latencies) / load.wall)


def test_latency_counts_from_the_due_time() -> None:
    # One connection, a hundred requests due within 50 ms: the last one waits for all previous ones.
    load = open_loop(connect_to(lambda: time.sleep(REQUEST_S), [], []), 1, 400.0, 0.05)
    assert len(load.latencies) > 5
    for place, latency in enumerate(load.latencies, 1):
        assert latency >= place * REQUEST_S - 0.05 - 1e-3


def test_arrival_times_depend_on_the_seed_only() -> None:
    counts = {len(open_loop(connect_to(int, [], []), 2, 200.0, 0.1, seed=3).latencies) for _ in range(2)}
    assert len(counts) == 1


def test_errors_are_counted_by_name() -> None:
    counter = iter(range(1000))

    def every_other() -> None:
        time.sleep(1e-3)
        if next(counter) % 2:
            raise MVStylizerError("refused")

    load = closed_loop(connect_to(every_other, [], []), 1, 0.1)
    assert abs(load.errors["MVStylizerError"] - len(load.latencies)) <= 1
    assert load.errors.total() > 0


def test_a_failed_connection_is_an_error() -> None:
    def refuse(number: int) -> AbstractContextManager[Callable[[], object]]:
        raise MVStylizerError("no edge answers")

    with pytest.raises(MVStylizerError, match="no edge answers"):
        closed_loop(refuse, 2, 0.1)


def test_quantiles_use_the_nearest_rank() -> None:
    load = Load([0.4, 0.1, 0.3, 0.2])
    assert [load.quantile(share) for share in (0.5, 0.75, 0.95, 0.01)] == [0.2, 0.3, 0.4, 0.1]
    assert Load().quantile(0.5) is None
