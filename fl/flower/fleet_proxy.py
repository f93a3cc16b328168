"""The cloud's public port: it passes the Fleet calls of admitted edges to the SuperLink, and nothing else.

Flower serves its Fleet, Control and Runtime routes on one port, and anyone who reaches it may use Control and
Runtime. So the SuperLink listens on loopback. This proxy ends TLS, and checks the route, the size and the
edge's signature before it reads a body. It buffers no bodies.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import h11

from fl.flower.fleet_exchange import Exchange, Peer
from fl.flower.node_auth import NodeKeys
from fl.flower.processes import FederationError
from fl.limits import short

MAX_CONNECTIONS, MAX_CONNECTIONS_PER_ADDRESS = 512, 64
HANDSHAKE_TIMEOUT_S, CLOSE_TIMEOUT_S = 10.0, 5.0
MAX_REPORTS, MAX_REPORTS_PER_ADDRESS = 300, 3  # of refusals; an attacker must not fill the log

_NO_DESCRIPTORS_PAUSE_S = 0.2


class FleetProxy:
    """A TLS server in a thread of its own.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 chooses one.
        superlink: Port of the SuperLink on loopback.
        tls: Folder with ``ca.pem``, ``server.pem`` and ``server.key``.
        keys: The admitted edges.
        report: Called with one line for each kind of refusal of an address, from the proxy's thread.

    Raises:
        FederationError: The address is in use or not of this machine, or a TLS file is damaged.
    """

    def __init__(
        self,
        host: str,
        port: int,
        superlink: int,
        tls: Path,
        keys: NodeKeys,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        try:
            self._server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._server.load_cert_chain(tls / "server.pem", tls / "server.key")
            self._client = ssl.create_default_context(cafile=str(tls / "ca.pem"))
        except (OSError, ValueError) as err:
            raise FederationError(
                f"The TLS files in {tls} cannot be read: {err}",
                "Delete the folder, start the cloud again, and copy the new ca.pem to the edges",
            ) from err
        self._address = f"{host}:{port}"
        self._socket = _bound(host, port, self._address)
        self.port: int = self._socket.getsockname()[1]
        self._superlink, self._keys, self._report = superlink, keys, report
        self._connections: Counter[str] = Counter()
        self._reported: set[tuple[str, str]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="fleet proxy", daemon=True)

    def __enter__(self) -> Self:
        return self

    def open(self) -> None:
        """Listen; the port answers when this returns.

        Raises:
            FederationError: Another program has taken the port meanwhile.
        """
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        try:
            self._socket.listen(128)
        except OSError as err:
            raise _port_error(self._address, err) from err
        self._socket.setblocking(False)
        self._loop = asyncio.new_event_loop()
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CLOSE_TIMEOUT_S)
        self._socket.close()

    def _run(self) -> None:
        assert self._loop is not None
        accepting = self._loop.create_task(self._accept(self._loop))
        with contextlib.closing(self._loop) as loop:
            loop.run_forever()
            tasks = asyncio.all_tasks(loop) | {accepting}
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))

    async def _accept(self, loop: asyncio.AbstractEventLoop) -> None:
        tasks: set[asyncio.Task[None]] = set()
        while True:
            try:
                connection, address = await loop.sock_accept(self._socket)
            except OSError:  # no file descriptors left, or the client is already gone
                await asyncio.sleep(_NO_DESCRIPTORS_PAUSE_S)
                continue
            task = loop.create_task(self._serve(loop, connection, address[0]))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _serve(self, loop: asyncio.AbstractEventLoop, connection: socket.socket, address: str) -> None:
        with self._counted(address) as has_room:
            if not has_room:
                connection.close()
                self._refuse(address, "too many connections")
                return
            try:
                await self._pass_calls(loop, connection, address)
            except (OSError, TimeoutError, h11.ProtocolError):  # ssl.SSLError is an OSError
                pass
            except Exception as err:  # whatever one client sends must not end the proxy
                self._refuse(address, f"{type(err).__name__}: {err}")

    async def _pass_calls(
        self, loop: asyncio.AbstractEventLoop, connection: socket.socket, address: str
    ) -> None:
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol,
            connection,
            ssl=self._server,
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
            ssl_shutdown_timeout=CLOSE_TIMEOUT_S,
        )
        peer = Peer(h11.SERVER, reader, asyncio.StreamWriter(transport, protocol, reader, loop))
        with contextlib.closing(peer):
            exchange = Exchange(peer, self._keys, self._connect, lambda reason: self._refuse(address, reason))
            await exchange.run()

    async def _connect(self) -> Peer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._superlink, ssl=self._client)
        return Peer(h11.CLIENT, reader, writer)

    @contextlib.contextmanager
    def _counted(self, address: str) -> Iterator[bool]:
        """Count a connection; yield False if there are too many."""
        self._connections[address] += 1
        try:
            yield (
                self._connections[address] <= MAX_CONNECTIONS_PER_ADDRESS
                and self._connections.total() <= MAX_CONNECTIONS
            )
        finally:
            self._connections[address] -= 1
            if not self._connections[address]:
                del self._connections[address]

    def _refuse(self, address: str, reason: str) -> None:
        count = sum(known == address for known, _ in self._reported)
        is_new = (address, reason) not in self._reported
        if is_new and count < MAX_REPORTS_PER_ADDRESS and len(self._reported) < MAX_REPORTS:
            self._reported.add((address, reason))
            self._report(f"Refused {address}: {short(reason)} (reported once)")


def _bound(host: str, port: int, address: str) -> socket.socket:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(where)
    except OSError as err:
        raise _port_error(address, err) from err
    return bound


def _port_error(address: str, err: OSError) -> FederationError:
    return FederationError(
        f"Cannot listen on {address}: {err.strerror or err}", "Choose another --host or --port"
    )
