"""Emulate a network link with TUN devices (root) or with a proxy on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from benchmarks.network import proxy, tun
from benchmarks.network.exchange import Exchange
from benchmarks.network.link import Emulator, Link


def best_emulator() -> Emulator:
    """Return the best emulator that works on this machine: ``tun`` needs root and a TUN device."""
    return "proxy" if tun.missing_requirement() else "tun"


@contextmanager
def emulated(link: Link, emulator: Emulator) -> Iterator[Exchange]:
    """Yield an exchange over an emulated link.

    Raises:
        TunError: The kernel refuses a network namespace or a device.
    """
    opened: AbstractContextManager[Exchange] = tun.over(link) if emulator == "tun" else proxy.over(link)
    with opened as exchange:
        yield exchange
