"""The state that gateway, supervisor and rollout share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edge_triton.gateway.serving_state import MAX_SUCCESS_AGE_S, ServingState
from edge_triton.metrics import Metrics
from mvstylizer.bundle import Bundle
from mvstylizer.release import ReleaseError


class IdleChannel:
    shared_bytes = 4096


CHANNEL: Any = IdleChannel()


def versions(bundle: Bundle, *numbers: int) -> list[Bundle]:
    return [replace(bundle, version=number) for number in numbers]


def test_readiness_needs_a_channel_and_a_recent_success(bundle: Bundle) -> None:
    now = [0.0]
    state = ServingState(bundle, clock=lambda: now[0])
    assert (state.is_ready(), state.status) == (False, "not ready")
    now[0] = 100.0
    state.connect(CHANNEL)
    assert (state.is_ready(), state.status, state.success_age_s) == (True, "serving", 0.0)
    now[0] += MAX_SUCCESS_AGE_S
    assert not state.is_ready()
    state.mark_success()
    assert state.is_ready()
    assert state.disconnect() is CHANNEL
    assert (state.channel, state.is_ready()) == (None, False)
    assert state.disconnect() is None


def test_a_draining_edge_is_not_ready(bundle: Bundle) -> None:
    state = ServingState(bundle)
    state.connect(CHANNEL)
    state.drain()
    assert (state.is_ready(), state.status) == (False, "draining")


def test_promotion_keeps_the_previous_version_for_a_rollback(bundle: Bundle) -> None:
    first, second, third = versions(bundle, 1, 2, 3)
    state = ServingState(first)
    state.promote(second)
    state.promote(third)
    assert (state.version, state.served, sorted(state.bundles)) == (3, third, [2, 3])
    state.roll_back(2)
    assert (state.version, state.served, sorted(state.bundles)) == (2, second, [2, 3])
    with pytest.raises(ReleaseError, match="Version 1 is not loaded"):
        state.roll_back(1)
    assert state.version == 2


def test_retained_versions_replace_a_dropped_one(bundle: Bundle) -> None:
    first, second = versions(bundle, 1, 2)
    state = ServingState(first)
    state.promote(second)
    state.retain([1])
    assert (state.version, dict(state.bundles)) == (1, {1: first})


def test_bundles_are_read_only(bundle: Bundle) -> None:
    bundles: Any = ServingState(bundle).bundles
    with pytest.raises(TypeError):
        bundles[2] = bundle


def test_gauges_follow_the_state(bundle: Bundle) -> None:
    state, metrics = ServingState(bundle), Metrics()
    state.add_gauges(metrics)
    lines = metrics.text().splitlines()
    assert {"mvstylizer_up 0.0", "mvstylizer_shared_memory_bytes 0.0"} <= set(lines)
    state.connect(CHANNEL)
    state.promote(versions(bundle, 9)[0])
    lines = metrics.text().splitlines()
    assert {"mvstylizer_up 1.0", "mvstylizer_shared_memory_bytes 4096.0"} <= set(lines)
    assert "mvstylizer_model_version 9.0" in lines
