"""Load generators: closed loop (each client waits for its reply) and open loop (random arrival times)."""

from __future__ import annotations

import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Final

from benchmarks.harness.timing import Work
from mvstylizer.errors import MVStylizerError

Connect = Callable[[int], AbstractContextManager[Work]]
"""Opens the connection of client 0, 1, …; yields a function that makes one request."""

QUANTILES: Final = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


@dataclass
class Load:
    """The outcome of a load.

    Attributes:
        latencies: Seconds of each successful request, in order of completion.
        errors: Number of failed requests by error.
        wall: Seconds from the first request to the last reply.
    """

    latencies: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    wall: float = 0.0

    @property
    def throughput(self) -> float:
        """Successful requests per second."""
        return len(self.latencies) / self.wall

    def quantile(self, share: float) -> float | None:
        """Return a latency quantile (nearest rank), or None without replies."""
        if not self.latencies:
            return None
        return sorted(self.latencies)[max(0, math.ceil(share * len(self.latencies)) - 1)]


def closed_loop(connect: Connect, clients: int, seconds: float) -> Load:
    """Run clients that each send the next request after the reply to the previous one.

    Requests in progress at the end are awaited and counted.
    """

    def schedule(began: float) -> Iterator[float]:
        while time.perf_counter() < began + seconds:
            yield time.perf_counter()

    return _drive(connect, clients, schedule)


def open_loop(connect: Connect, clients: int, rate: float, seconds: float, *, seed: int = 0) -> Load:
    """Send requests at random times (a Poisson process), independent of earlier replies.

    Latency is measured from the time a request was due, so waiting for a free connection is included.

    Args:
        connect: Opens connections.
        clients: Number of connections, which limits the requests in progress.
        rate: Mean number of requests per second.
        seconds: Duration.
        seed: Random seed.
    """
    draw = random.Random(seed)
    due = [0.0]
    while due[-1] < seconds:
        due.append(due[-1] + draw.expovariate(rate))
    times = iter(due[:-1])
    lock = threading.Lock()

    def schedule(began: float) -> Iterator[float]:
        while True:
            with lock:
                offset = next(times, None)
            if offset is None:
                return
            time.sleep(max(0.0, began + offset - time.perf_counter()))
            yield began + offset

    return _drive(connect, clients, schedule)


def _drive(connect: Connect, clients: int, schedule: Callable[[float], Iterator[float]]) -> Load:
    """Run clients; the schedule yields the time at which the next request of a client is due."""
    load = Load()

    def client(request: Work) -> None:
        for due in schedule(began):
            try:
                request()
            except MVStylizerError as err:
                load.errors[type(err).__name__] += 1
            else:
                load.latencies.append(time.perf_counter() - due)

    with ExitStack() as stack:
        requests = [stack.enter_context(connect(number)) for number in range(clients)]
        pool = stack.enter_context(ThreadPoolExecutor(clients, "client"))
        began = time.perf_counter()
        for each in [pool.submit(client, request) for request in requests]:
            each.result()
        load.wall = time.perf_counter() - began
    return load
