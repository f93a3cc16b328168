"""Rate and concurrency limits against their definitions."""

from __future__ import annotations

from contextlib import ExitStack

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_triton.gateway.admission import ConcurrencyLimit, RateLimit, peer_host
from edge_triton.gateway.status_error import StatusError


@settings(deadline=None)
@given(st.floats(0.5, 50), st.integers(1, 10), st.lists(st.floats(0, 2), max_size=60))
def test_rate_is_never_exceeded_and_pushback_is_enough(rate: float, burst: int, pauses: list[float]) -> None:
    now = [0.0]
    limit = RateLimit(rate, burst, clock=lambda: now[0])
    passed: list[float] = []
    for pause in pauses:
        now[0] += pause
        try:
            limit.take("client")
            passed.append(now[0])
        except StatusError as err:
            now[0] += (err.pushback_s or 0) + 1e-6
            limit.take("client")
            passed.append(now[0])
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            assert last - first + 1 <= burst + rate * (passed[last] - passed[first]) + 1e-3


def test_rates_are_per_client_and_memory_is_bounded() -> None:
    limit = RateLimit(1, 1, clock=lambda: 0.0)
    for number in range(10_000):
        limit.take(str(number))
    with pytest.raises(StatusError) as caught:
        limit.take("9999")
    assert caught.value.status == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len(limit._levels) <= 4096


def test_concurrency_is_limited_in_total_and_per_client() -> None:
    limit = ConcurrencyLimit(total=3, per_client=2)
    with ExitStack() as stack:
        stack.enter_context(limit.take("a"))
        stack.enter_context(limit.take("a"))
        with pytest.raises(StatusError), limit.take("a"):
            pass
        stack.enter_context(limit.take("b"))
        with pytest.raises(StatusError), limit.take("c"):
            pass
        assert limit.in_use == 3
    assert limit.in_use == 0
    with pytest.raises(ZeroDivisionError), limit.take("a"):
        raise ZeroDivisionError
    assert limit.in_use == 0


@pytest.mark.parametrize(
    ("peer", "host"),
    [("ipv4:192.0.2.7:4711", "ipv4:192.0.2.7"), ("ipv6:[2001:db8::1]:4711", "ipv6:[2001:db8::1]")],
)
def test_client_without_token_is_its_host(peer: str, host: str) -> None:
    assert peer_host(peer) == host
