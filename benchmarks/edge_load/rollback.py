"""Rollback: time until phones get replies from the previous version, which is still loaded."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient

from benchmarks.edge_load.version_folder import VersionFolder
from benchmarks.harness.result import Spread
from benchmarks.harness.timing import spread
from edge_triton.edge import Edge, EdgeOptions
from mvstylizer.bundle import Bundle

SIDE: Final = 64


def rollback_seconds(model: Bundle, repeats: int) -> Spread:
    """Run an edge with two versions, switch between them, and time each switch.

    Args:
        model: Model served under two version numbers.
        repeats: Number of switches.

    Returns:
        Seconds from the call until the other version has stylized a 64×64 frame.

    Raises:
        MVStylizerError: The edge does not start, or does not accept the second version.
    """
    return spread(asyncio.run(_switches(model, repeats)))


async def _switches(model: Bundle, repeats: int) -> list[float]:
    edge = Edge(model.path, EdgeOptions(port=0))
    try:
        await edge.start()
        with tempfile.TemporaryDirectory(prefix="mvstylizer-rollback-") as folder:
            newer = VersionFolder(model, Path(folder)).publish()
            await edge.releases.promote(newer)
            async with InferenceServerClient(edge.address) as phone:
                request = _request(model)
                await _serving_version(phone, request)  # warm
                return [
                    await _switch(edge, phone, request, (model, newer)[number % 2].version)
                    for number in range(repeats)
                ]
    finally:
        await edge.stop(0.0)


async def _switch(edge: Edge, phone: InferenceServerClient, request: list[InferInput], version: int) -> float:
    began = time.perf_counter()
    edge.releases.roll_back(version)
    while await _serving_version(phone, request) != version:
        continue
    return time.perf_counter() - began


async def _serving_version(phone: InferenceServerClient, request: list[InferInput]) -> int:
    """Stylize a frame and return the version that replied."""
    result: Any = await phone.infer("stylizer", request)
    return int(result.get_response().model_version)


def _request(model: Bundle) -> list[InferInput]:
    code = model.spec("stylizer").inputs[1].shape
    values: dict[str, NDArray[Any]] = {
        "frame": np.full((1, SIDE, SIDE, 3), 128, np.uint8),
        "style_code": np.zeros(code, np.float32),
        "r": np.ones(1, np.float32),
    }
    tensors = []
    for name, value in values.items():
        tensors.append(InferInput(name, list(value.shape), "UINT8" if name == "frame" else "FP32"))
        tensors[-1].set_data_from_numpy(value)
    return tensors
