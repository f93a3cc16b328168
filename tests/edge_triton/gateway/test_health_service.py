"""`grpc.health.v1` with the stock client: alone on a gRPC server, and on a real edge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from edge_triton.edge import Edge
from edge_triton.gateway import health_service
from edge_triton.gateway.gateway import SERVICE
from edge_triton.gateway.guard import Limits
from edge_triton.gateway.health_service import HealthService
from mvstylizer.bundle import Bundle

StartEdge = Callable[..., Any]
Status = health_pb2.HealthCheckResponse
SERVING, NOT_SERVING, UNKNOWN = Status.SERVING, Status.NOT_SERVING, Status.SERVICE_UNKNOWN


def named(service: str) -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service=service)


class Served:
    """A health service on its own gRPC server, with a readiness that tests can change."""

    def __init__(self, limits: Limits) -> None:
        self.is_ready = True
        self.service = HealthService(lambda: self.is_ready, limits, services=("", SERVICE))
        self.address = ""

    def stub(self, channel: Any) -> health_pb2_grpc.HealthStub:
        return health_pb2_grpc.HealthStub(channel)


@asynccontextmanager
async def served(limits: Limits | None = None) -> AsyncIterator[tuple[Served, health_pb2_grpc.HealthStub]]:
    one = Served(limits or Limits())
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([one.service.handlers()])
    one.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    async with grpc.aio.insecure_channel(one.address) as channel:
        yield one, one.stub(channel)
    await server.stop(0.0)


def test_check_follows_readiness() -> None:
    async def check() -> None:
        async with served() as (one, stub):
            for name in ("", SERVICE):
                one.is_ready = True
                assert (await stub.Check(named(name))).status == SERVING
                one.is_ready = False
                assert (await stub.Check(named(name))).status == NOT_SERVING
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Check(named("no.such.Service"))
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND

    asyncio.run(check())


def test_watch_sends_changes_and_outlives_another_watcher() -> None:
    async def watch() -> None:
        async with served() as (one, stub):
            first, second, unknown = stub.Watch(named("")), stub.Watch(named("")), stub.Watch(named("x"))
            for call, status in ((first, SERVING), (second, SERVING), (unknown, UNKNOWN)):
                assert (await call.read()).status == status
            first.cancel()
            for is_ready, status in ((False, NOT_SERVING), (True, SERVING)):
                one.is_ready = is_ready
                assert (await second.read()).status == status

    asyncio.run(asyncio.wait_for(watch(), 60))


def test_closing_tells_watchers_that_the_edge_is_not_ready() -> None:
    async def close() -> None:
        async with served() as (one, stub):
            call = stub.Watch(named(""))
            assert (await call.read()).status == SERVING
            one.is_ready = False
            await one.service.close(60.0)
            assert (await call.read()).status == NOT_SERVING
            call.cancel()

    asyncio.run(asyncio.wait_for(close(), 60))


def test_closing_without_watchers_takes_no_time() -> None:
    service = HealthService(lambda: True, Limits(), services=("",))
    asyncio.run(asyncio.wait_for(service.close(3600.0), 60))


def test_checks_and_watches_are_limited_per_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_service, "_MAX_WATCHES_PER_CLIENT", 2)

    async def flood() -> None:
        async with served(Limits(rate=0.001, burst=5)) as (_, stub):
            calls = [stub.Watch(named("")) for _ in range(3)]
            codes = set()
            for call in calls:
                try:
                    assert (await call.read()).status == SERVING
                except grpc.aio.AioRpcError as err:
                    codes.add(err.code())
            for _ in range(3):
                try:
                    await stub.Check(named(""))
                except grpc.aio.AioRpcError as err:
                    codes.add(err.code())
            assert codes == {grpc.StatusCode.RESOURCE_EXHAUSTED}
            for call in calls:
                call.cancel()

    asyncio.run(asyncio.wait_for(flood(), 60))


def test_slow_body_times_out() -> None:
    async def slow() -> None:
        async def never() -> AsyncIterator[bytes]:
            await asyncio.sleep(60)
            yield b""

        async with served() as (one, _), grpc.aio.insecure_channel(one.address) as channel:
            call = channel.stream_unary("/grpc.health.v1.Health/Check")(never())
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED

    asyncio.run(asyncio.wait_for(slow(), 60))


@pytest.mark.server
def test_probe_needs_no_token_and_sees_a_restart(
    start_edge: StartEdge, bundle: Bundle, tmp_path: Path, descendants: Callable[[str], set[Any]]
) -> None:
    (tmp_path / "tokens").write_text("phone 0123456789abcdef\n")
    before = descendants("tritonserver")
    with (
        start_edge(bundle, token_file=tmp_path / "tokens") as running,
        grpc.insecure_channel(running.edge.address) as channel,
    ):
        stub = health_pb2_grpc.HealthStub(channel)
        assert stub.Check(named(SERVICE), timeout=60).status == SERVING
        changes = (response.status for response in stub.Watch(named(""), timeout=300))
        assert next(changes) == SERVING
        for process in descendants("tritonserver") - before:
            process.kill()
        assert next(changes) == NOT_SERVING
        assert next(changes) == SERVING


@pytest.mark.server
def test_probe_next_to_kserve_on_one_channel(edge: Edge) -> None:
    with grpc.insecure_channel(edge.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        assert stub.Check(named(""), timeout=60).status == SERVING
        with pytest.raises(grpc.RpcError) as caught:
            stub.Check(named("stylizer"), timeout=60)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
