from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_runtime.prefetch import Prefetcher


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def await_true(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers()), st.integers(1, 4), st.integers(1, 4))
def test_items_pass_several_stages_completely_and_in_order(items: list[int], first: int, second: int) -> None:
    with Prefetcher() as stages:
        doubled = (2 * item for item in stages.ahead(items, first))
        assert list(stages.ahead(doubled, second)) == [2 * item for item in items]


def test_stages_overlap() -> None:
    meet = threading.Barrier(3, timeout=20)

    def at_the_barrier(items: Iterator[int]) -> Iterator[int]:
        for item in items:
            if item == 3 - stage_of[threading.get_ident()]:  # the later the stage, the earlier its item
                meet.wait()
            yield item

    stage_of: dict[int, int] = {}

    def numbered(number: int, items: Iterator[int]) -> Iterator[int]:
        stage_of[threading.get_ident()] = number
        yield from at_the_barrier(items)

    with Prefetcher() as stages:
        one = stages.ahead(numbered(0, iter(range(10))), 1)
        two = stages.ahead(numbered(1, one), 1)
        assert list(stages.ahead(numbered(2, two), 1)) == list(range(10))


@pytest.mark.parametrize("depth", [1, 3])
def test_no_more_than_the_depth_is_computed_ahead(depth: int) -> None:
    begun: list[int] = []

    def source() -> Iterator[int]:
        for item in range(100):
            begun.append(item)
            yield item

    with Prefetcher() as stages:
        items = stages.ahead(source(), depth)
        await_true(lambda: len(begun) == depth)
        assert next(items) == 0
        await_true(lambda: len(begun) == depth + 1)
        time.sleep(0.05)
        assert len(begun) == depth + 1


class Thing:
    pass


def test_items_are_released_after_use() -> None:
    alive: weakref.WeakSet[Thing] = weakref.WeakSet()

    def source() -> Iterator[Thing]:
        for _ in range(50):
            thing = Thing()
            alive.add(thing)
            yield thing
            del thing

    most = 0
    gc.freeze()  # what was there before need not be searched each time
    try:
        with Prefetcher() as stages:
            for _ in stages.ahead(stages.ahead(source(), 2), 2):
                gc.collect()
                most = max(most, len(alive))
    finally:
        gc.unfreeze()
    assert most <= 8


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_is_raised_after_the_items_before_it(failing: int) -> None:
    def broken(items: Iterator[int]) -> Iterator[int]:
        for item in items:
            if item == 5:
                raise OSError("torn")
            yield item

    def whole(items: Iterator[int]) -> Iterator[int]:
        yield from items

    got = []

    def run() -> None:
        with Prefetcher() as stages:
            first = stages.ahead([broken, whole][failing](iter(range(9))), 1)
            got.extend([0])
            for item in stages.ahead([whole, broken][failing](first), 1):
                got.append(item)

    with pytest.raises(OSError, match="torn"):
        run()
    assert got == [0, 0, 1, 2, 3, 4]


@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt])
def test_a_reader_that_stops_ends_every_stage(stop: type[BaseException]) -> None:
    closed = []

    def endless() -> Iterator[int]:
        item = 0
        try:
            while True:
                yield item
                item += 1
        finally:
            closed.append(True)

    def run() -> None:
        with Prefetcher() as stages:
            for item in stages.ahead(stages.ahead(endless(), 2), 2):
                if item == 10:
                    raise stop

    with pytest.raises(stop):
        run()
    gc.collect()
    assert closed == [True]


def test_a_stage_that_waits_for_its_source_ends_too() -> None:
    gate = threading.Event()

    def slow() -> Iterator[int]:
        yield 1
        gate.wait(0.2)
        yield 2

    def run() -> None:
        with Prefetcher() as stages:
            assert next(stages.ahead(stages.ahead(slow(), 1), 1)) == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
