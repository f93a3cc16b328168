"""The load of a soak: a client of each kind, asking without pause, one of them what is to be refused."""

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
    """The edge answers what it should refuse."""


@dataclass
class Tally:
    """What came of one kind of request."""

    latencies: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)


@contextmanager
def load(address: str, tokens: list[str]) -> Iterator[dict[str, Tally]]:
    """One client of each kind, asking without pause until the block ends."""
    tallies = {kind: Tally() for kind in KINDS}
    over = threading.Event()
    threads = [
        threading.Thread(target=_ask, args=(address, token, kind, tallies[kind], over.is_set))
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


def _ask(address: str, token: str, kind: str, tally: Tally, is_over: Callable[[], bool]) -> None:
    """Ask again and again: one style photo in ten requests, frames otherwise. No request is repeated."""
    frame, style = footage.photo(*footage.size(RESOLUTION)), footage.style()
    reply: Reply = "map" if kind == "map" else "image"
    with EdgeClient(address, timeout_s=60, patience_s=0, token=token, **KINDS[kind]) as client:
        code, asked = client.encode_style(style), 0
        while not is_over():
            asked += 1
            began = time.perf_counter()
            try:
                if kind == "bad":
                    _be_refused(client, frame, code)
                elif asked % 10 == 0:
                    client.encode_style(style)
                else:
                    client.stylize(frame, code, reply=reply)
            except MVStylizerError as err:
                tally.failures[str(err)] += 1
            else:
                tally.latencies.append(time.perf_counter() - began)


def _be_refused(client: EdgeClient, frame: footage.Picture, code: NDArray[np.float32]) -> None:
    """Send a style code that is no number, then rest: refusing costs next to nothing."""
    try:
        client.stylize(frame, np.full_like(code, np.nan))
    except EdgeRefusedError:
        time.sleep(0.2)
    else:
        raise SoakError("A bad request was answered")
