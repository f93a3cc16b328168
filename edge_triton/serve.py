"""`mvstylizer serve`: the bundled Triton in the foreground, until it is asked to stop."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from edge_triton.server import TritonServer

DRAIN_S = 8.0  # containers are killed 10 s after they were asked
_POLL_S = 0.5


def serve(
    source: Path,
    *,
    port: int = 8001,
    workers: int = 1,
    on_ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve a bundle in the foreground until SIGINT or SIGTERM, then finish what is in flight.

    Must be called from the main thread, which receives the signals.

    Args:
        source: A bundle's folder, or a Triton repository with the two models.
        port: gRPC port on loopback; 0 = a free one.
        workers: Stylizer instances.
        on_ready: Called once with the address when the server stylizes.

    Raises:
        ServerStartError: It does not start.
        ServerDiedError: It ended by itself.
        BundleError: A file of the bundle is missing or changed.
    """
    server = TritonServer(source, port=port, workers=workers)
    with _stop_signals():
        try:
            server.start()
            on_ready(server.address)
            while True:
                server.check()
                time.sleep(_POLL_S)
        except _StopAskedError:
            server.stop(DRAIN_S)
        finally:
            server.stop()


class _StopAskedError(BaseException):
    """SIGINT or SIGTERM has come."""


@contextlib.contextmanager
def _stop_signals() -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into `_StopAskedError` and swallow the rest: stopping is under way."""

    def ask(number: int, frame: FrameType | None) -> None:
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, signal.SIG_IGN)
        raise _StopAskedError

    before = {name: signal.signal(name, ask) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except _StopAskedError:
        pass
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
