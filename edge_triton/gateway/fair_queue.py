"""Slots that clients share by the work of their requests, so that a greedy client delays only itself."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable

ACTIVE_S = 2.0
_MAX_CLIENTS = 4096


class FairQueue:
    """A number of slots, granted by start-time fair queueing. Belongs to one event loop.

    A free slot goes to the waiting client whose granted work is smallest, not to the longest queue. While
    several clients are active, each holds at most its share of the slots, so that one is soon free again. The
    empty name, for the edge's own requests, takes no share from others.

    Args:
        slots: Number of slots.
        clock: Monotonic clock, in seconds.
    """

    def __init__(self, slots: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._slots = slots
        self._clock = clock
        self._held: Counter[str] = Counter()
        self._waiting: dict[str, deque[tuple[asyncio.Future[None], float]]] = {}
        self._granted: OrderedDict[str, float] = (
            OrderedDict()
        )  # work by client, the last active one at the end
        self._seen: dict[str, float] = {}
        self._floor = 0.0

    async def acquire(self, client: str, work: float) -> None:
        """Wait for a slot; `release` it when the work has ended.

        Args:
            client: Name of the client.
            work: Size of the request, in pixels.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append((turn, work))
        self._grant()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(client)
            else:
                self._drop(client, turn)
            raise

    def release(self, client: str) -> None:
        """Return a client's slot."""
        self._held[client] -= 1
        if not self._held[client]:
            del self._held[client]
        self._touch(client)
        self._grant()

    def _grant(self) -> None:
        while self._held.total() < self._slots:
            share = self._share()
            ready = [client for client in self._waiting if self._held[client] < share]
            if not ready:
                return
            client = min(ready, key=self._level)
            turn, work = self._waiting[client].popleft()
            if not self._waiting[client]:
                del self._waiting[client]
            if turn.cancelled():  # its caller has not run since
                continue
            self._floor = self._level(client)
            self._granted[client] = self._floor + work
            self._held[client] += 1
            self._touch(client)
            turn.set_result(None)

    def _share(self) -> int:
        """Return how many slots one client may hold now."""
        recent = self._clock() - ACTIVE_S
        active = {client for client, at in self._seen.items() if at > recent}
        clients = (active | self._held.keys() | self._waiting.keys()) - {""}
        return max(1, self._slots // max(1, len(clients)))

    def _level(self, client: str) -> float:
        """Return a client's granted work; time without requests does not count in its favor."""
        return max(self._granted.get(client, 0.0), self._floor)

    def _touch(self, client: str) -> None:
        self._seen[client] = self._clock()
        self._granted.move_to_end(client)
        if len(self._granted) > _MAX_CLIENTS:
            forgotten, _ = self._granted.popitem(last=False)
            self._seen.pop(forgotten, None)

    def _drop(self, client: str, turn: asyncio.Future[None]) -> None:
        left = deque(pair for pair in self._waiting.get(client, ()) if pair[0] is not turn)
        if left:
            self._waiting[client] = left
        else:
            self._waiting.pop(client, None)
