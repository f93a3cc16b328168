"""Runs valid requests on Triton, with style codes from the cache and errors in the protocol's own terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from edge_triton.gateway.call import Call
from edge_triton.gateway.serving_state import ServingState
from edge_triton.gateway.status_error import StatusError, invalid, restarting
from edge_triton.gateway.style_cache import StyleCache, photo_key
from edge_triton.gateway.triton_channel import Output, TritonChannelClosedError
from edge_triton.gateway.validation import InferenceRequest, upscaled
from edge_triton.gateway.work_pool import WorkPool
from edge_triton.triton.repository import STYLE_ENCODER

_RESTARTING = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.CANCELLED}
_SMALL_BYTES = 1 << 20
_UNHEALTHY = "is not healthy"  # Triton's words for a dead stub process


class Inference:
    """The path of one request through Triton. Belongs to one event loop.

    Args:
        state: Holds the channel, and learns of every success and failure.
        pool: Threads for hashing photos.
    """

    def __init__(self, state: ServingState, pool: WorkPool) -> None:
        self._state = state
        self._pool = pool
        self._styles = StyleCache()

    @property
    def cached_styles(self) -> int:
        """Number of style photos in the cache."""
        return len(self._styles)

    @property
    def cached_bytes(self) -> int:
        """Memory of the cache, in bytes."""
        return self._styles.nbytes

    def forget(self, client: str) -> None:
        """Drop what is cached of a client."""
        self._styles.forget(client)

    async def run(self, request: InferenceRequest, call: Call) -> dict[str, Output]:
        """Return the raw outputs of a request by name.

        Args:
            request: The request.
            call: Who sent it.

        Raises:
            StatusError: Triton is restarting, is too slow, or fails on this input.
        """
        if request.model == STYLE_ENCODER:
            return {"style_code": await self._encode(request.version, request.tensors["style"], call)}
        names = request.raw_outputs()
        tensors = dict(request.tensors)
        if "stylized" not in names:
            # ONNX Runtime always runs the whole graph, so the unwanted image is made as small as possible.
            tensors["r"] = np.array([1 / min(tensors["frame"].shape[1:3])], np.float32)
        tensors["style_code"] = await self._translate(request.version, tensors["style_code"], call)
        return await self._infer(request.model, request.version, tensors, names, call)

    async def _encode(self, version: int, photo: NDArray[np.uint8], call: Call) -> Output:
        """Return a photo's style code, from the cache if this version has encoded it before."""
        key = await self._pool.run(call.client, photo.size // 3, lambda: photo_key(photo))
        code = self._styles.code(call.client, key, version)
        if code is None:
            outputs = await self._infer(STYLE_ENCODER, version, {"style": photo}, ("style_code",), call)
            code = outputs["style_code"].data
            # A view would keep the rest of the request in memory, which the cache does not count.
            kept = photo.copy() if photo.nbytes < _SMALL_BYTES else photo
            self._styles.add(call.client, key, kept, version, code)
        return Output("FP32", (1, len(code) // 4), code)

    async def _translate(self, version: int, code: NDArray[np.float32], call: Call) -> NDArray[np.float32]:
        """Return this version's code for the photo from which another version made the given code."""
        known = self._styles.translate(call.client, code.tobytes(), version)
        if not isinstance(known, bytes):
            own = (await self._encode(version, known, call)).data
            known = self._styles.adopted(call.client, code.tobytes(), own)
        return np.frombuffer(known, np.float32)[None]

    async def _infer(
        self,
        model: str,
        version: int,
        tensors: Mapping[str, NDArray[Any]],
        names: Sequence[str],
        call: Call,
    ) -> dict[str, Output]:
        channel = self._state.channel
        if channel is None:
            raise restarting()
        try:
            outputs = await channel.infer(
                model, version, tensors, {name: _max_bytes(name, tensors) for name in names}, call
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
