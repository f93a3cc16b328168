"""An emulated network is at least as slow as its link.

Only lower bounds are checked: a busy machine makes it slower.
"""

from __future__ import annotations

import threading

import pytest

from benchmarks.network import tun
from benchmarks.network.emulation import best_emulator, emulated
from benchmarks.network.link import Emulator, Link

EMULATORS: list[Emulator] = ["proxy"] if tun.missing_requirement() else ["proxy", "tun"]
ROUND_TRIP_S = 0.08
FRAME = 300_000


@pytest.mark.parametrize("emulator", EMULATORS)
def test_delay_and_rate(emulator: Emulator) -> None:
    rate = 50e6
    with emulated(Link(ROUND_TRIP_S, rate), emulator) as exchange:
        exchange.warm(FRAME, 0)
        small, large = exchange.warm(100, 100), exchange.warm(FRAME, FRAME)
    assert small.up >= ROUND_TRIP_S / 2
    assert small.there_and_back >= ROUND_TRIP_S
    assert large.up >= ROUND_TRIP_S / 2 + 8 * FRAME / rate
    assert large.there_and_back >= ROUND_TRIP_S + 2 * 8 * FRAME / rate


@pytest.mark.parametrize("emulator", EMULATORS)
def test_a_small_window_slows_down_a_large_frame(emulator: Emulator) -> None:
    window = 32_768
    with emulated(Link(ROUND_TRIP_S, 1e9, window), emulator) as exchange:
        exchange.warm(FRAME, 0)
        # Linux allows up to twice the requested window.
        assert exchange.warm(FRAME, 0).up >= (FRAME / (2 * window) - 1) * ROUND_TRIP_S


@pytest.mark.parametrize("emulator", EMULATORS)
def test_a_new_connection_pays_for_its_handshake_and_slow_start(emulator: Emulator) -> None:
    with emulated(Link(ROUND_TRIP_S, 1e9), emulator) as exchange:
        # Connecting takes a round trip; the first flight is ten segments, and each flight doubles.
        assert exchange.cold(FRAME, 0).up >= ROUND_TRIP_S * (1 + 0.5 + 3)


@pytest.mark.parametrize("emulator", EMULATORS)
def test_no_thread_is_left_running(emulator: Emulator) -> None:
    before = set(threading.enumerate())
    with emulated(Link(0.001, 1e9), emulator) as exchange:
        exchange.cold(1000, 1000)
        exchange.warm(1000, 1000)
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
        assert not thread.is_alive(), thread


def test_the_best_emulator_works_on_this_machine() -> None:
    assert best_emulator() == EMULATORS[-1]
