"""The guard while it closes, with a real gRPC server and channel."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import grpc
import pytest

from edge_triton.gateway.call import Call
from edge_triton.gateway.guard import Guard, Limits
from edge_triton.gateway.work_pool import WorkPool
from edge_triton.metrics import Metrics


async def closing() -> tuple[bytes, bool, grpc.aio.AioRpcError]:
    """Return the answer of a running call, whether closing waited for it, and the error of a late call."""
    guard = Guard(Limits(), Metrics(), None)
    started, finish = asyncio.Event(), asyncio.Event()

    async def answer(request: bytes, call: Call) -> bytes:
        started.set()
        await finish.wait()
        return request * 2

    handler = grpc.stream_unary_rpc_method_handler(guard.wrap("Double", answer))
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test", {"Double": handler})])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        double: Any = channel.unary_unary("/test/Double")
        early = asyncio.ensure_future(double(b"ab"))
        await started.wait()
        closed = asyncio.ensure_future(guard.close(60.0))
        await asyncio.sleep(0)
        with pytest.raises(grpc.aio.AioRpcError) as rejected:
            await double(b"late")
        waited = not closed.done()
        finish.set()
        await closed
        await server.stop(0.0)
        return await early, waited, rejected.value


def test_closing_answers_running_calls_and_rejects_new_ones() -> None:
    answer, waited, error = asyncio.run(closing())
    assert answer == b"abab"
    assert waited
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert error.details() == "the edge is stopping"


async def given_up() -> tuple[grpc.StatusCode, grpc.StatusCode, bytes]:
    """Return the status of a late call, of one while its thread still runs, and an answer after that."""
    pool, begun, finish = WorkPool(1), threading.Event(), threading.Event()
    limits = Limits(max_requests=1, max_requests_per_client=1, request_timeout_s=0.2)
    guard = Guard(limits, Metrics(), None)

    def work() -> bytes:
        begun.set()
        finish.wait(60)
        return b"done"

    async def answer(request: bytes, call: Call) -> bytes:
        return await pool.run(call.client, 1.0, work)

    handler = grpc.stream_unary_rpc_method_handler(guard.wrap("Work", answer))
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test", {"Work": handler})])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: Any = channel.unary_unary("/test/Work")
        codes = []
        for _ in range(2):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(b"x")
            codes.append(caught.value.code())
        finish.set()
        while guard.in_use:
            await asyncio.sleep(0.01)
        result = await call(b"x")
        await server.stop(0.0)
    pool.close()
    return codes[0], codes[1], result


def test_work_that_outlives_its_request_keeps_its_place() -> None:
    late, busy, result = asyncio.run(given_up())
    assert late is grpc.StatusCode.DEADLINE_EXCEEDED
    assert busy is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert result == b"done"


def test_idle_guard_closes_at_once() -> None:
    async def close() -> None:
        await asyncio.wait_for(Guard(Limits(), Metrics(), None).close(3600.0), 60)

    asyncio.run(close())
