"""Runs an edge in the foreground until SIGINT, SIGTERM or SIGHUP."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Awaitable, Callable
from pathlib import Path

from edge_triton.edge import Edge, EdgeOptions
from edge_triton.gateway.free_memory import limit_arenas
from mvstylizer.signals import stop_signals

DRAIN_TIMEOUT_S = 8.0  # container runtimes send SIGKILL 10 s after SIGTERM


def serve(
    bundle: Path, options: EdgeOptions | None = None, *, on_ready: Callable[[Edge], None] = lambda edge: None
) -> None:
    """Serve a bundle until SIGINT, SIGTERM or SIGHUP, then finish the running requests.

    Call it from the main thread, which receives the signals.

    Args:
        bundle: Folder of the bundle.
        options: How the edge faces its clients.
        on_ready: Called once, when the edge is ready.

    Raises:
        ServerStartError: Triton does not start, or a port is taken.
        ServerDiedError: Triton keeps failing.
        BundleError: A file of the bundle is missing or changed.
        EdgeConfigError: The options are inconsistent or unsafe.
        TokenFileError: The token file cannot be used.
    """
    raise_file_limit()
    limit_arenas()
    asyncio.run(_serve(bundle, options or EdgeOptions(), on_ready))


def raise_file_limit() -> None:
    """Raise the limit of open files, usually 1024, to the highest that this process may set."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(bundle: Path, options: EdgeOptions, on_ready: Callable[[Edge], None]) -> None:
    stop = asyncio.Event()
    for number in stop_signals():
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    edge = Edge(bundle, options)
    grace_s = 0.0
    try:
        if await _unless(stop, edge.start()):
            on_ready(edge)
            await _unless(stop, edge.run())
            grace_s = DRAIN_TIMEOUT_S
    finally:
        await edge.stop(grace_s)


async def _unless(stop: asyncio.Event, work: Awaitable[None]) -> bool:
    """Run a coroutine until it is done or `stop` is set; return whether it was done."""
    stopped = asyncio.ensure_future(stop.wait())
    task = asyncio.ensure_future(work)
    await asyncio.wait([stopped, task], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not task.done():
        task.cancel()
        await asyncio.wait([task])
        return False
    task.result()
    return True
