"""The load of a soak test: one client of each kind without pauses, including one with invalid requests."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.data import footage
from edge_triton.client.client import EdgeClient, EdgeRefusedError
from mvstylizer.errors import MVStylizerError
from mvstylizer.stylizer import Reply

RESOLUTION: Final = "512x256"
KINDS: Final[dict[str, dict[str, Any]]] = {
    "raw image": {},
    "JPEG image": {"jpeg_quality": 90},
    "map": {"frugal": True},
    "bad": {},
}


class SoakError(MVStylizerError):
    """The edge accepted an invalid request."""


@dataclass
class Tally:
    """The outcome of one kind of request."""

    latencies: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)


@contextmanager
def load(address: str, tokens: list[str], *, patience_s: float = 0.0) -> Iterator[dict[str, Tally]]:
    """Run one client of each kind without pauses until the block ends.

    Args:
        address: The edge.
        tokens: A token for each client.
        patience_s: How long a client retries, in seconds; 0 = not at all.
    """
    tallies = {kind: Tally() for kind in KINDS}
    over = threading.Event()
    threads = [
        threading.Thread(
            target=_run_client, args=(address, token, kind, tallies[kind], over.is_set, patience_s)
        )
        for kind, token in zip(KINDS, tokens, strict=True)
    ]
    for thread in threads:
        thread.start()
    try:
        yield tallies
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _run_client(
    address: str, token: str, kind: str, tally: Tally, is_over: Callable[[], bool], patience_s: float
) -> None:
    """Send requests, every tenth with a style photo and the others with frames."""
    frame, style = footage.photo(*footage.size(RESOLUTION)), footage.style()
    reply: Reply = "map" if kind == "map" else "image"
    with EdgeClient(address, timeout_s=60, patience_s=patience_s, token=token, **KINDS[kind]) as client:
        code, asked = client.encode_style(style), 0
        while not is_over():
            asked += 1
            began = time.perf_counter()
            try:
                if kind == "bad":
                    _send_invalid(client, frame, code)
                elif asked % 10 == 0:
                    client.encode_style(style)
                else:
                    client.stylize(frame, code, reply=reply)
            except MVStylizerError as err:
                tally.failures[str(err)] += 1
            else:
                tally.latencies.append(time.perf_counter() - began)


def _send_invalid(client: EdgeClient, frame: footage.Picture, code: NDArray[np.float32]) -> None:
    """Send an invalid style code (NaN), then pause, because refusing it is nearly free."""
    try:
        client.stylize(frame, np.full_like(code, np.nan))
    except EdgeRefusedError:
        time.sleep(0.2)
    else:
        raise SoakError("The edge accepted an invalid request")
