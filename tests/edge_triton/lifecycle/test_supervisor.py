"""When the supervisor restarts Triton, with a fake server and channel."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from edge_triton.gateway.serving_state import ServingState
from edge_triton.gateway.triton_channel import Output, TritonChannelClosedError
from edge_triton.lifecycle import supervisor as module
from edge_triton.lifecycle.canary import run_canary
from edge_triton.lifecycle.supervisor import Supervisor
from edge_triton.metrics import Metrics
from edge_triton.triton.startup_errors import ServerDiedError
from mvstylizer.bundle import Bundle, BundleError


class FakeServer:
    def __init__(
        self,
        *,
        is_dead: bool = False,
        lost_stub: bool = False,
        unusable: tuple[int, ...] = (),
        cpu_s: float = 5.0,
    ) -> None:
        self.cpu_s, self.used_s = cpu_s, 0.0
        self.is_dead = is_dead
        self.lost_stub = lost_stub
        self.unusable = unusable

    def check(self) -> None:
        if self.is_dead:
            raise ServerDiedError("The bundled Triton ended", "Start it again")

    def has_lost_a_stub(self, versions: Any) -> bool:
        return self.lost_stub

    def cpu_seconds(self) -> float:
        self.used_s += self.cpu_s
        return self.used_s

    def specs(self, bundle: Bundle, resident: tuple[int, ...]) -> tuple[()]:
        if bundle.version in self.unusable:
            raise BundleError(f"version {bundle.version} is damaged", "Copy it again")
        return ()


class FakeChannel:
    """Answers at once, never, with NaN, or with an error."""

    shared_bytes = 0

    def __init__(self, behavior: str) -> None:
        self.behavior = behavior

    async def infer(
        self, model: str, version: int, tensors: Mapping[str, Any], outputs: Mapping[str, int]
    ) -> dict[str, Output]:
        if self.behavior == "hang":
            await asyncio.sleep(3600)
        if self.behavior == "closed":
            raise TritonChannelClosedError
        value = np.float32(np.nan if self.behavior == "nan" else 0)
        return {
            "style_code": Output("FP32", (1, 3), np.zeros(3, np.float32).tobytes()),
            "stylized": Output("UINT8", (1, 64, 64, 3), b""),
            "grid": Output("FP32", (1, 1, 1, 1, 12), np.full(12, value).tobytes()),
        }


def supervised(
    bundle: Bundle, server: FakeServer, behavior: str = "answer", age_s: float = 0.0
) -> tuple[Supervisor, ServingState, Metrics]:
    now = [0.0]
    state, metrics = ServingState(bundle, clock=lambda: now[0]), Metrics()
    channel: Any = FakeChannel(behavior)
    state.connect(channel)
    now[0] = age_s
    fake: Any = server
    return Supervisor(fake, state, metrics, 1), state, metrics


@pytest.mark.parametrize(
    ("behavior", "result"), [("answer", "good"), ("hang", "late"), ("nan", "failed"), ("closed", "failed")]
)
def test_canary_results(bundle: Bundle, behavior: str, result: str) -> None:
    _, state, _ = supervised(bundle, FakeServer(), behavior, age_s=5.0)
    assert asyncio.run(run_canary(state, 1, 0.05)) == result
    assert state.success_age_s == (0.0 if result == "good" else 5.0)
    state.disconnect()
    assert asyncio.run(run_canary(state, 1, 0.05)) == "failed"


@pytest.mark.parametrize(
    ("server", "behavior", "age_s", "cause"),
    [
        (FakeServer(is_dead=True), "answer", 0.0, "server_died"),
        (FakeServer(lost_stub=True), "answer", 0.0, "stub_died"),
        (FakeServer(), "closed", 2.0, "failed"),
        (FakeServer(), "hang", 121.0, "stuck"),
        (FakeServer(cpu_s=0.0), "hang", 7.0, "stuck"),
    ],
)
def test_cause_of_a_restart(
    bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    server: FakeServer,
    behavior: str,
    age_s: float,
    cause: str,
) -> None:
    monkeypatch.setattr(module, "_CANARY_TIMEOUT_S", 0.05)
    supervisor, _, _ = supervised(bundle, server, behavior, age_s)
    assert asyncio.run(asyncio.wait_for(supervisor._failure(), 60)) == cause


def test_a_lack_of_file_descriptors_does_not_end_the_supervisor(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = FakeServer()
    failures = [OSError(24, "Too many open files")] * 3 + [ServerDiedError("It ended", "Start it again")]

    def check() -> None:
        raise failures.pop(0)

    monkeypatch.setattr(server, "check", check)
    supervisor, _, _ = supervised(bundle, server)
    assert asyncio.run(asyncio.wait_for(supervisor._failure(), 60)) == "server_died"
    assert caplog.text.count("Too many open files") == 3


def test_busy_server_is_not_restarted(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CANARY_TIMEOUT_S", 0.01)
    supervisor, _, metrics = supervised(bundle, FakeServer(), "hang", age_s=100.0)
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(supervisor._failure(), 1.0))
    assert 'mvstylizer_canaries_total{result="late"}' in metrics.text()


@pytest.mark.parametrize(("order", "unusable", "left"), [((1, 2), 2, 1), ((1, 2), 1, 2), ((2, 1), 2, 1)])
def test_unusable_versions_are_dropped(
    bundle: Bundle, order: tuple[int, int], unusable: int, left: int
) -> None:
    from dataclasses import replace

    supervisor, state, _ = supervised(replace(bundle, version=order[0]), FakeServer(unusable=(unusable,)))
    state.promote(replace(bundle, version=order[1]))
    supervisor._drop_unusable()
    assert (state.version, list(state.bundles)) == (left, [left])


def test_no_usable_version_is_an_error(bundle: Bundle) -> None:
    supervisor, _, _ = supervised(bundle, FakeServer(unusable=(1,)))
    with pytest.raises(BundleError, match="version 1 is damaged"):
        supervisor._drop_unusable()


def test_restarts_back_off_and_end(bundle: Bundle) -> None:
    supervisor, _, _ = supervised(bundle, FakeServer())
    assert [supervisor._pause_s() for _ in range(5)] == [0.0, 0.5, 1.0, 2.0, 4.0]
    with pytest.raises(ServerDiedError, match="more than 5 times"):
        supervisor._pause_s()
