"""What lies between a phone and a server, and the two ways to emulate it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Literal

from benchmarks.network.exchange import Exchange

Way = Literal["tun", "proxy"]


@dataclass(frozen=True)
class Path:
    """A path.

    Attributes:
        round_trip_s: Of a small packet, in seconds.
        rate: Bits a second, each way.
        window: Bytes under way at a time; None = what today's TCP works out.
    """

    round_trip_s: float
    rate: float
    window: int | None = None


def way_here() -> Way:
    """Return how this machine can emulate: ``tun`` needs root and a TUN device."""
    from benchmarks.network.tun import why_not

    return "proxy" if why_not() else "tun"


@contextmanager
def emulated(path: Path, way: Way) -> Iterator[Exchange]:
    """Give an exchange over an emulated path."""
    from benchmarks.network import proxy, tun

    opened: AbstractContextManager[Exchange] = tun.over(path) if way == "tun" else proxy.over(path)
    with opened as exchange:
        yield exchange
