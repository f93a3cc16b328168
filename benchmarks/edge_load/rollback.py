"""Rollback: how soon a phone is answered by the version before, which is still loaded."""

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
    """Run an edge with two versions, change the pointer to and fro, and time each change.

    Args:
        model: What is served, under two version numbers.
        repeats: Changes.

    Returns:
        Seconds from the call until an answer of the other version is there, a frame of 64×64 included.

    Raises:
        MVStylizerError: The edge does not start, or does not take the second version.
    """
    return spread(asyncio.run(_changes(model, repeats)))


async def _changes(model: Bundle, repeats: int) -> list[float]:
    edge = Edge(model.path, EdgeOptions(port=0))
    try:
        await edge.start()
        with tempfile.TemporaryDirectory(prefix="mvstylizer-rollback-") as folder:
            newer = VersionFolder(model, Path(folder)).publish()
            await edge.releases.promote(newer)
            async with InferenceServerClient(edge.address) as phone:
                request = _request(model)
                await _answering(phone, request)  # warm
                return [
                    await _change(edge, phone, request, (model, newer)[turn % 2].version)
                    for turn in range(repeats)
                ]
    finally:
        await edge.stop(0.0)


async def _change(edge: Edge, phone: InferenceServerClient, request: list[InferInput], version: int) -> float:
    began = time.perf_counter()
    edge.releases.roll_back(version)
    while await _answering(phone, request) != version:
        continue
    return time.perf_counter() - began


async def _answering(phone: InferenceServerClient, request: list[InferInput]) -> int:
    """Stylize, and return the version that did."""
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
