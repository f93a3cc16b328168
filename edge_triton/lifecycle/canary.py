"""The canary: one small inference through both models of a version."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import grpc
import numpy as np
from numpy.typing import NDArray

from edge_triton.gateway.serving_state import ServingState
from edge_triton.gateway.triton_channel import TritonChannel, TritonChannelClosedError
from edge_triton.triton.repository import STYLE_ENCODER, STYLIZER
from edge_triton.triton.startup import CANARY_SIZE

CanaryResult = Literal["good", "failed", "late"]


async def run_canary(state: ServingState, version: int, timeout_s: float) -> CanaryResult:
    """Send a small gray frame through both models of a version; a success is marked in the state.

    Args:
        state: Holds the channel.
        version: A loaded version.
        timeout_s: Time for both inferences, in seconds.

    Returns:
        ``good``, ``failed``, or ``late``, which can also mean that the server is busy.
    """
    if state.channel is None:
        return "failed"
    try:
        async with asyncio.timeout(timeout_s):
            is_good = await _stylizes(state.channel, version)
    except TimeoutError:
        return "late"
    except (grpc.aio.AioRpcError, TritonChannelClosedError):
        return "failed"
    if not is_good:
        return "failed"
    state.mark_success()
    return "good"


async def _stylizes(channel: TritonChannel, version: int) -> bool:
    """Return whether both models answer with the right shape and finite numbers."""
    gray = np.full((1, CANARY_SIZE, CANARY_SIZE, 3), 128, np.uint8)
    encoded = await channel.infer(STYLE_ENCODER, version, {"style": gray}, {"style_code": 0})
    tensors: dict[str, NDArray[Any]] = {
        "frame": gray,
        "style_code": np.frombuffer(encoded["style_code"].data, np.float32)[None],
        "r": np.ones(1, np.float32),
    }
    outputs = await channel.infer(STYLIZER, version, tensors, {"stylized": 0, "grid": 0})
    grid = np.frombuffer(outputs["grid"].data, np.float32)
    return (
        outputs["stylized"].shape == gray.shape
        and len(outputs["grid"].shape) == 5
        and bool(np.isfinite(grid).all())
    )
