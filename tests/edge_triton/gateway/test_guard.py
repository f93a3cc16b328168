"""The door at closing time, with a real gRPC server and channel."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from edge_triton.gateway.guard import Guard, Limits
from edge_triton.metrics import Metrics


async def closing() -> tuple[bytes, bool, grpc.aio.AioRpcError]:
    """Return what was inside got, whether the door waited for it, and how a late request was refused."""
    door = Guard(Limits(), Metrics(), None)
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def answer(request: bytes, client: str) -> bytes:
        inside.set()
        await go_on.wait()
        return request * 2

    handler = grpc.stream_unary_rpc_method_handler(door.guard("Double", answer))
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test", {"Double": handler})])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        ask: Any = channel.unary_unary("/test/Double")
        early = asyncio.ensure_future(ask(b"ab"))
        await inside.wait()
        closed = asyncio.ensure_future(door.close(60.0))
        await asyncio.sleep(0)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ask(b"late")
        waited = not closed.done()
        go_on.set()
        await closed
        await server.stop(0.0)
        return await early, waited, refused.value


def test_those_inside_are_answered_and_nobody_else() -> None:
    answer, waited, refusal = asyncio.run(closing())
    assert answer == b"abab"
    assert waited
    assert refusal.code() is grpc.StatusCode.UNAVAILABLE
    assert refusal.details() == "the edge is stopping"


def test_an_empty_edge_closes_at_once() -> None:
    async def close() -> None:
        await asyncio.wait_for(Guard(Limits(), Metrics(), None).close(3600.0), 60)

    asyncio.run(close())
