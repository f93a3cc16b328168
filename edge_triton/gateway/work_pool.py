"""Threads for the work that the gateway does itself: parsing, decoding, encoding, hashing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from edge_triton.gateway.fair_queue import FairQueue

_T = TypeVar("_T")
_THREADS = min(8, max(2, os.cpu_count() or 2))


class WorkPool:
    """A bounded number of threads that clients share fairly. Belongs to one event loop.

    Args:
        threads: Number of threads.
    """

    def __init__(self, threads: int = _THREADS) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="gateway")
        self._turns = FairQueue(threads)

    async def run(self, client: str, work: float, function: Callable[[], _T]) -> _T:
        """Run a function in a thread and return its result.

        A thread cannot be stopped. A cancelled call that has begun therefore ends only with its thread, so
        that the caller's slots stay in use for as long as its work does.

        Args:
            client: Name of the client.
            work: Size of the work, in pixels.
            function: What to run.
        """
        await self._turns.acquire(client, work)
        running = asyncio.get_running_loop().run_in_executor(self._threads, function)
        running.add_done_callback(lambda _: self._turns.release(client))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])
            if not running.cancelled():
                running.exception()  # retrieved, although nobody needs it
            raise

    def close(self) -> None:
        """Accept no more work; what runs is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
