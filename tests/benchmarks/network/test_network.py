"""An emulated network is as slow as its path says. A busy machine makes it slower: bounds are from below."""

from __future__ import annotations

import threading

import pytest

from benchmarks.network import tun
from benchmarks.network.path import Path, Way, emulated, way_here

WAYS: list[Way] = ["proxy"] if tun.why_not() else ["proxy", "tun"]
ROUND_TRIP_S = 0.08
FRAME = 300_000


@pytest.mark.parametrize("way", WAYS)
def test_delay_and_rate(way: Way) -> None:
    rate = 50e6
    with emulated(Path(ROUND_TRIP_S, rate), way) as exchange:
        exchange.warm(FRAME, 0)
        small, large = exchange.warm(100, 100), exchange.warm(FRAME, FRAME)
    assert small.up >= ROUND_TRIP_S / 2
    assert small.there_and_back >= ROUND_TRIP_S
    assert large.up >= ROUND_TRIP_S / 2 + 8 * FRAME / rate
    assert large.there_and_back >= ROUND_TRIP_S + 2 * 8 * FRAME / rate


@pytest.mark.parametrize("way", WAYS)
def test_a_window_holds_a_large_frame_up(way: Way) -> None:
    window = 32_768
    with emulated(Path(ROUND_TRIP_S, 1e9, window), way) as exchange:
        exchange.warm(FRAME, 0)
        # Linux lets up to twice of what is asked for be under way.
        assert exchange.warm(FRAME, 0).up >= (FRAME / (2 * window) - 1) * ROUND_TRIP_S


@pytest.mark.parametrize("way", WAYS)
def test_a_new_connection_pays_for_its_handshake_and_slow_start(way: Way) -> None:
    with emulated(Path(ROUND_TRIP_S, 1e9), way) as exchange:
        # Connecting takes a round trip; ten segments go at once, then twice as many, ….
        assert exchange.cold(FRAME, 0).up >= ROUND_TRIP_S * (1 + 0.5 + 3)


@pytest.mark.parametrize("way", WAYS)
def test_nothing_stays(way: Way) -> None:
    before = set(threading.enumerate())
    with emulated(Path(0.001, 1e9), way) as exchange:
        exchange.cold(1000, 1000)
        exchange.warm(1000, 1000)
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
        assert not thread.is_alive(), thread


def test_the_way_here_is_one_that_works_here() -> None:
    assert way_here() == WAYS[-1]
