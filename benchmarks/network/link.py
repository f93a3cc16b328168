"""The network between a phone and a server: its delay, rate and window, and how to emulate it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Emulator = Literal["tun", "proxy"]


@dataclass(frozen=True)
class Link:
    """A network link.

    Attributes:
        round_trip_s: Round-trip time of a small packet, in seconds.
        rate: Bits per second in each direction.
        window: Maximum number of bytes in flight; None uses the window that today's TCP negotiates.
    """

    round_trip_s: float
    rate: float
    window: int | None = None
