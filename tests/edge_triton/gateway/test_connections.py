"""Surplus connections to a plain listener in this process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import closing

import grpc
import pytest

from edge_triton.gateway.connections import ConnectionLimit


class Listener:
    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = self.socket.getsockname()[1]
        self.pairs: list[tuple[socket.socket, socket.socket]] = []

    def connect(self, host: str = "127.0.0.1") -> None:
        client = socket.create_connection(("127.0.0.1", self.port), source_address=(host, 0))
        self.pairs.append((client, self.socket.accept()[0]))

    def peer(self, index: int) -> str:
        host, port = self.pairs[index][0].getsockname()
        return f"ipv4:{host}:{port}"

    def open(self) -> list[int]:
        """Return the numbers of the connections whose client has not been disconnected."""
        found = []
        for number, (client, _) in enumerate(self.pairs):
            client.setblocking(False)
            try:
                if client.recv(1):
                    found.append(number)
            except BlockingIOError:
                found.append(number)
        return found


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    with closing(made.socket):
        yield made
        for pair in made.pairs:
            for end in pair:
                end.close()


def test_the_oldest_strangers_of_an_address_go_first(listener: Listener) -> None:
    limit = ConnectionLimit(total=100, per_address=3)
    for _ in range(3):
        listener.connect()
    limit.admit(listener.peer(0))
    limit._sweep(listener.port)
    for _ in range(3):
        listener.connect()
    listener.connect("127.0.0.2")
    limit._sweep(listener.port)
    assert listener.open() == [0, 3, 4, 5, 6]


def test_an_address_has_at_most_half_of_all(listener: Listener) -> None:
    limit = ConnectionLimit(total=8, per_address=4)
    for number in range(6):
        listener.connect()
        limit.admit(listener.peer(number))
        limit._sweep(listener.port)
    assert listener.open() == [2, 3, 4, 5]


def test_strangers_leave_room_for_others(listener: Listener) -> None:
    limit = ConnectionLimit(total=8, per_address=100)
    for number in range(8):
        listener.connect(f"127.0.1.{number + 1}")
    limit.admit(listener.peer(0))
    limit._sweep(listener.port)
    assert len(listener.open()) == 6
    assert 0 in listener.open()


def test_other_sockets_and_files_are_left_alone(listener: Listener) -> None:
    other = Listener()
    with closing(other.socket):
        for _ in range(5):
            other.connect()
        listener.connect()
        ConnectionLimit(total=2, per_address=1)._sweep(listener.port)
        assert listener.open() == [0]
        assert other.open() == [0, 1, 2, 3, 4]
        for pair in other.pairs:
            for end in pair:
                end.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::", "::1"])
def test_grpcs_names_of_connections_are_those_of_the_sockets(host: str) -> None:
    """A connection that made an admitted call is known, whatever kind of socket gRPC listens on."""
    limit = ConnectionLimit(total=100, per_address=1)

    async def peers() -> list[bool]:
        async def echo(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
            limit.admit(context.peer())
            return request

        handler = grpc.unary_unary_rpc_method_handler(echo)
        server = grpc.aio.server()
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test", {"Echo": handler})])
        shown = f"[{host}]" if ":" in host else host
        port = server.add_insecure_port(f"{shown}:0")
        await server.start()
        client = "[::1]" if ":" in host else "127.0.0.1"
        async with grpc.aio.insecure_channel(f"{client}:{port}") as channel:
            await channel.unary_unary("/test/Echo")(b"x")
            found = limit._open(port)
        await server.stop(0.0)
        return [each.is_known for each in found]

    assert asyncio.run(peers()) == [True]


def test_addresses_of_one_ipv6_network_count_together() -> None:
    from edge_triton.gateway.connections import _network

    assert _network("2001:db8::1") == _network("2001:db8::ffff:1") != _network("2001:db8:0:1::1")
    assert _network("fe80::1%eth0") == _network("fe80::2%eth0")
