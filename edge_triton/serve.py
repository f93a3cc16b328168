"""`mvstylizer serve`: the edge in the foreground, until it is asked to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from edge_triton.edge import Edge, EdgeOptions

DRAIN_S = 8.0  # containers are killed 10 s after they were asked


def serve(
    bundle: Path, options: EdgeOptions | None = None, *, on_ready: Callable[[Edge], None] = lambda edge: None
) -> None:
    """Serve a bundle in the foreground until SIGINT or SIGTERM, then finish what is in flight.

    Must be called from the main thread, which receives the signals.

    Args:
        bundle: A bundle's folder.
        options: How the edge faces its clients.
        on_ready: Called once when the edge stylizes.

    Raises:
        ServerStartError: It does not start.
        ServerDiedError: Triton cannot be kept alive.
        BundleError: A file of the bundle is missing or changed.
        EdgeConfigError: The options are a mistake.
        TokenFileError: The file of tokens cannot be used.
    """
    asyncio.run(_serve(bundle, options or EdgeOptions(), on_ready))


async def _serve(bundle: Path, options: EdgeOptions, on_ready: Callable[[Edge], None]) -> None:
    stop_asked = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop_asked.set)
    edge = Edge(bundle, options)
    grace_s = 0.0
    try:
        if await _unless(stop_asked, edge.start()):
            on_ready(edge)
            await _unless(stop_asked, edge.run())
            grace_s = DRAIN_S
    finally:
        await edge.stop(grace_s)


async def _unless(stop_asked: asyncio.Event, work: Awaitable[None]) -> bool:
    """Do the work unless a stop is asked for; tell whether it was done."""
    asked = asyncio.ensure_future(stop_asked.wait())
    task = asyncio.ensure_future(work)
    await asyncio.wait([asked, task], return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if not task.done():
        task.cancel()
        await asyncio.wait([task])
        return False
    task.result()
    return True
