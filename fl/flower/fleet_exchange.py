"""The HTTP calls on one connection of `fl.flower.fleet_proxy`: check each, and pass it to the SuperLink."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import h11

from fl.flower.node_auth import NodeKeys

FLEET = "/v1/fleet/"
# Flower cuts arrays into objects of 5 MiB; a list of all objects of a message is below a megabyte.
MAX_BYTES, MAX_OBJECT_BYTES = 1 << 18, 1 << 25
CALLS = {
    "activate-node": MAX_BYTES,
    "deactivate-node": MAX_BYTES,
    "send-node-heartbeat": MAX_BYTES,
    "pull-messages": MAX_BYTES,
    "push-messages": MAX_OBJECT_BYTES,
    "get-run": MAX_BYTES,
    "get-fab": MAX_BYTES,
    "push-object": MAX_OBJECT_BYTES,
    "pull-object": MAX_BYTES,
    "confirm-message-received": MAX_BYTES,
}
"""The calls of a SuperNode with a registered key, and the most bytes of each request."""

FIRST_REQUEST_TIMEOUT_S = 10.0
IDLE_TIMEOUT_S = 90.0  # an edge polls every 3 s
EXCHANGE_TIMEOUT_S = 300.0  # of a request with its reply

_READ = 1 << 16
_PASSED = {b"content-type", b"accept", b"user-agent", b"x-flwr-client"}  # and all of Flower's own
_HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"server", b"date"}

_Headers = list[tuple[bytes, bytes]]


class _RefusedError(Exception):
    """A request that is not passed on."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Peer:
    """One end of a connection.

    Args:
        role: `h11.SERVER` towards an edge, `h11.CLIENT` towards the SuperLink.
        reader: Its stream.
        writer: Its stream.
    """

    def __init__(
        self,
        role: type[h11.CLIENT] | type[h11.SERVER],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.http = h11.Connection(role)
        self._reader, self._writer = reader, writer

    async def receive(self) -> Any:
        """Return the next event.

        Raises:
            h11.RemoteProtocolError: The other end does not speak HTTP.
        """
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(await self._reader.read(_READ))
        return event

    async def send(self, event: Any) -> None:
        """Send an event; waits while the other end is slow."""
        self._writer.write(self.http.send(event) or b"")
        await self._writer.drain()

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


class Exchange:
    """The calls of one connection.

    Args:
        edge: The connection.
        keys: The admitted edges.
        connect: Opens a connection to the SuperLink.
        on_refusal: Called with the reason for which a request is refused.
    """

    def __init__(
        self,
        edge: Peer,
        keys: NodeKeys,
        connect: Callable[[], Awaitable[Peer]],
        on_refusal: Callable[[str], None],
    ) -> None:
        self._edge, self._keys = edge, keys
        self._connect, self._on_refusal = connect, on_refusal

    async def run(self) -> None:
        """Pass calls until the edge closes, is refused or is silent for too long."""
        timeout_s = FIRST_REQUEST_TIMEOUT_S
        while True:
            async with asyncio.timeout(timeout_s):
                request = await self._edge.receive()
            if not isinstance(request, h11.Request):
                return
            try:
                async with asyncio.timeout(EXCHANGE_TIMEOUT_S):
                    await self._call(request)
            except _RefusedError as err:
                self._on_refusal(str(err))
                await self._reply(err)
                return
            if self._edge.http.our_state is not h11.DONE or self._edge.http.their_state is not h11.DONE:
                return
            self._edge.http.start_next_cycle()
            timeout_s = IDLE_TIMEOUT_S

    async def _call(self, request: h11.Request) -> None:
        headers = list(request.headers)
        _check(request, headers, self._keys)
        try:
            superlink = await self._connect()
        except OSError as err:
            raise _RefusedError(HTTPStatus.BAD_GATEWAY, "the SuperLink does not respond") from err
        with contextlib.closing(superlink):
            await superlink.send(h11.Request(method="POST", target=request.target, headers=_passed(headers)))
            await _pass(self._edge, superlink)
            response = await superlink.receive()
            while isinstance(response, h11.InformationalResponse):
                response = await superlink.receive()
            if not isinstance(response, h11.Response):
                raise _RefusedError(HTTPStatus.BAD_GATEWAY, "the SuperLink ended the connection")
            kept = [row for row in response.headers if row[0] not in _HOP_BY_HOP]
            await self._edge.send(h11.Response(status_code=response.status_code, headers=kept))
            await _pass(superlink, self._edge)

    async def _reply(self, refused: _RefusedError) -> None:
        """Send an error that Flower's client prints, and close."""
        body = json.dumps({"code": int(refused.status), "detail": str(refused)}).encode()
        length = ("content-length", str(len(body)))
        headers = [("content-type", "application/json"), length, ("connection", "close")]
        async with asyncio.timeout(FIRST_REQUEST_TIMEOUT_S):
            await self._edge.send(h11.Response(status_code=refused.status, headers=headers))
            await self._edge.send(h11.Data(data=body))
            await self._edge.send(h11.EndOfMessage())


async def _pass(source: Peer, target: Peer) -> None:
    """Pass a body from one end to the other.

    Raises:
        ConnectionError: The source ended in the middle.
    """
    while isinstance(event := await source.receive(), h11.Data):
        await target.send(h11.Data(data=event.data))
    if not isinstance(event, h11.EndOfMessage):
        raise ConnectionError("The message is incomplete")
    await target.send(h11.EndOfMessage())


def _check(request: h11.Request, headers: _Headers, keys: NodeKeys) -> None:
    """Check a request before its body is read.

    Raises:
        _RefusedError: It is not a Fleet call of an admitted edge, or is too large.
    """
    line = f"{request.method.decode()} {request.target.decode(errors='replace')}"
    call = request.target.decode(errors="replace").removeprefix(FLEET)
    if request.method != b"POST" or request.target != f"{FLEET}{call}".encode() or call not in CALLS:
        raise _RefusedError(HTTPStatus.FORBIDDEN, f"{line} is not for edges")
    names = [name for name, _ in headers]
    if b"content-length" not in names or b"transfer-encoding" in names:
        raise _RefusedError(HTTPStatus.LENGTH_REQUIRED, f"{line} does not say how long it is")
    if int(dict(headers)[b"content-length"]) > CALLS[call]:
        raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{line} is larger than {CALLS[call]} bytes")
    if not keys.is_signed(headers):
        raise _RefusedError(HTTPStatus.UNAUTHORIZED, "the edge is not admitted, or its clock is wrong")


def _passed(headers: _Headers) -> _Headers:
    own = [(b"host", b"127.0.0.1"), (b"connection", b"close")]
    length = [row for row in headers if row[0] == b"content-length"][:1]
    return own + length + [row for row in headers if row[0] in _PASSED or row[0].startswith(b"flwr-")]
