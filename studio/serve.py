"""Serve the studio on loopback until SIGINT, SIGTERM or SIGHUP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Final

import uvicorn

from mvstylizer.errors import MVStylizerError
from mvstylizer.signals import stop_signals
from studio.app import make_app
from studio.media_library import MediaLibrary
from studio.workbench import StudioBackend, Workbench

HOST: Final = (
    "127.0.0.1"  # not configurable: anyone who reaches the page can write files and use this machine
)
SHUTDOWN_TIMEOUT_S: Final = 2


class StudioPortError(MVStylizerError):
    """Error raised when the port cannot be used."""


@contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """Listen on a loopback port, before anything slow is started.

    Args:
        port: The port; 0 selects a free one.

    Raises:
        StudioPortError: It is in use or not allowed.
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            raise StudioPortError(
                f"Port {port} cannot be used ({error.strerror})",
                "Choose another one with --port, or stop the program that uses it",
            ) from error
        listener.listen()
        yield listener


def serve(
    listener: socket.socket,
    backend: StudioBackend,
    *,
    max_upload: int,
    on_ready: Callable[[str], None],
) -> None:
    """Serve the page until SIGINT, SIGTERM or SIGHUP, then end the job and delete all files.

    Must be called from the main thread, which receives the signals.

    Args:
        listener: Socket from `listening`.
        backend: Stylizes.
        max_upload: Maximum size of a file in bytes.
        on_ready: Called with the page's URL.
    """
    with MediaLibrary() as library, closing(Workbench(library, backend, max_upload=max_upload)) as workbench:
        config = uvicorn.Config(
            make_app(workbench),
            lifespan="off",
            log_level="warning",
            timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
        )
        on_ready(f"http://{HOST}:{listener.getsockname()[1]}")
        asyncio.run(_serve(_Server(config), listener))


class _Server(uvicorn.Server):
    """Leaves signal handling to `_serve`; uvicorn would raise the signals again after stopping."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        self.should_exit = True


async def _serve(server: _Server, listener: socket.socket) -> None:
    for number in stop_signals():
        asyncio.get_running_loop().add_signal_handler(number, server.stop)
    await server.serve(sockets=[listener])
