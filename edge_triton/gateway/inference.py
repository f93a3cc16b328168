"""Runs valid requests on Triton, with style codes from the cache and errors in the protocol's own terms."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from edge_triton.gateway.serving_state import ServingState
from edge_triton.gateway.status_error import StatusError, invalid, restarting
from edge_triton.gateway.style_cache import StyleCache, photo_key
from edge_triton.gateway.triton_channel import Output, TritonChannelClosedError
from edge_triton.gateway.validation import InferenceRequest, upscaled
from edge_triton.triton.repository import STYLE_ENCODER

_RESTARTING = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.CANCELLED}
_UNHEALTHY = "is not healthy"  # Triton's words for a dead stub process


class Inference:
    """The path of one request through Triton. Belongs to one event loop.

    Args:
        state: Holds the channel, and learns of every success and failure.
    """

    def __init__(self, state: ServingState) -> None:
        self._state = state
        self._styles = StyleCache()

    @property
    def cached_styles(self) -> int:
        """Number of style photos in the cache."""
        return len(self._styles)

    async def run(self, request: InferenceRequest) -> dict[str, Output]:
        """Return the raw outputs of a request by name.

        Raises:
            StatusError: Triton is restarting, is too slow, or fails on this input.
        """
        if request.model == STYLE_ENCODER:
            return {"style_code": await self._encode(request.version, request.tensors["style"])}
        names = request.raw_outputs()
        tensors = dict(request.tensors)
        if "stylized" not in names:
            # ONNX Runtime always runs the whole graph, so the unwanted image is made as small as possible.
            tensors["r"] = np.array([1 / min(tensors["frame"].shape[1:3])], np.float32)
        tensors["style_code"] = await self._translate(request.version, tensors["style_code"])
        return await self._infer(request.model, request.version, tensors, names)

    async def _encode(self, version: int, photo: NDArray[np.uint8]) -> Output:
        """Return a photo's style code, from the cache if this version has encoded it before."""
        key = await asyncio.to_thread(photo_key, photo)
        code = self._styles.code(key, version)
        if code is None:
            outputs = await self._infer(STYLE_ENCODER, version, {"style": photo}, ("style_code",))
            code = outputs["style_code"].data
            self._styles.add(key, photo, version, code)
        return Output("FP32", (1, len(code) // 4), code)

    async def _translate(self, version: int, code: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return this version's code for the photo from which another version made the given code."""
        known = self._styles.translate(code.tobytes(), version)
        if not isinstance(known, bytes):
            known = self._styles.adopted(code.tobytes(), (await self._encode(version, known)).data)
        return np.frombuffer(known, np.float32)[None]

    async def _infer(
        self, model: str, version: int, tensors: Mapping[str, NDArray[Any]], names: Sequence[str]
    ) -> dict[str, Output]:
        channel = self._state.channel
        if channel is None:
            raise restarting()
        try:
            outputs = await channel.infer(
                model, version, tensors, {name: _max_bytes(name, tensors) for name in names}
            )
        except TritonChannelClosedError as err:
            raise restarting() from err
        except grpc.aio.AioRpcError as err:
            raise self._status_error(err) from err
        self._state.mark_success()
        return outputs

    def _status_error(self, err: grpc.aio.AioRpcError) -> StatusError:
        """Return what a client may learn of Triton's failure."""
        code = err.code()
        if code in _RESTARTING or _UNHEALTHY in (err.details() or ""):
            self._state.check_requested.set()
            return restarting()
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            return StatusError(code, "the stylizer took too long")
        if code == grpc.StatusCode.INVALID_ARGUMENT:
            return invalid("the model rejects this input")
        return StatusError(grpc.StatusCode.INTERNAL, "the model failed on this input")


def _max_bytes(output: str, tensors: Mapping[str, NDArray[Any]]) -> int:
    """Return the most bytes that an output can have, or 0 where that is unknown."""
    if output != "stylized":
        return 0
    height, width = upscaled(tensors)
    return (height + 1) * (width + 1) * 3  # the graph may round a half the other way
