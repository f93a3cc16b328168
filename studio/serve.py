"""`mvstylizer studio`: the page on loopback, until it is asked to stop."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Final

import uvicorn

from mvstylizer.errors import MVStylizerError
from studio.app import make_app
from studio.shelf import Shelf
from studio.workbench import Engine, Workbench

HOST: Final = "127.0.0.1"  # no option: whoever reaches the page can write files and use this machine
GRACE_S: Final = 2


class StudioPortError(MVStylizerError):
    """The port cannot be used."""


@contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """Take a port on loopback, before anything is started that takes time.

    Args:
        port: 0 = a free one.

    Raises:
        StudioPortError: It is taken, or not allowed.
    """
    with socket.socket() as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind((HOST, port))
        except OSError as error:
            raise StudioPortError(
                f"Port {port} cannot be used ({error.strerror})",
                "Choose another with --port, or stop the program that has it",
            ) from error
        door.listen()
        yield door


def serve(
    door: socket.socket,
    engine: Engine,
    *,
    max_upload: int,
    on_ready: Callable[[str], None],
) -> None:
    """Serve the page until SIGINT or SIGTERM, then end the job and remove every file.

    Must be called from the main thread, which receives the signals.

    Args:
        door: From `listening`.
        engine: What stylizes.
        max_upload: Bytes of a file at most.
        on_ready: Called with the page's address.
    """
    with Shelf() as shelf, closing(Workbench(shelf, engine, max_upload=max_upload)) as workbench:
        config = uvicorn.Config(
            make_app(workbench), lifespan="off", log_level="warning", timeout_graceful_shutdown=GRACE_S
        )
        on_ready(f"http://{HOST}:{door.getsockname()[1]}")
        asyncio.run(_serve(_Server(config), door))


class _Server(uvicorn.Server):
    """Leaves the signals to us: uvicorn raises them again when it has stopped."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        self.should_exit = True


async def _serve(server: _Server, door: socket.socket) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, server.stop)
    await server.serve(sockets=[door])
