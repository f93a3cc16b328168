"""The gateway's way to Triton: one connection on loopback, frames through shared memory.

What is sent to Triton is built here from checked arrays; nothing of a stranger's message is passed on.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2, service_pb2_grpc

from edge_triton.gateway.shared_memory import LARGEST_HALF, SharedSlot
from edge_triton.gateway.validation import DATATYPES

_MAX_MESSAGE = 2**31 - 1
_WORTH_SHARING = 1 << 16
_MAX_S = 120.0  # the most that one inference may take
_REGION = "shared_memory_region"
_SIZE = "shared_memory_byte_size"
_OFFSET = "shared_memory_offset"
# After these Triton may still be at work and write into the memory that it was given.
_UNSURE = {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}


class TritonChannelClosedError(Exception):
    """The connection was closed while a request was on its way."""


class Output(NamedTuple):
    """One output tensor: KServe datatype, shape, bytes in row-major order."""

    datatype: str
    shape: tuple[int, ...]
    data: bytes


class TritonChannel:
    """One running Triton; belongs to one event loop.

    Shared memory is a bonus: where Triton refuses it or there is too little, tensors go in the messages.

    Args:
        address: ``HOST:PORT`` of Triton.
        prefix: Start of the names of shared memory regions.
        slots: Requests that Triton gets at a time; more wait here.
    """

    def __init__(self, address: str, prefix: str, slots: int) -> None:
        options = [("grpc.max_send_message_length", _MAX_MESSAGE), ("grpc.enable_http_proxy", 0)]
        options.append(("grpc.max_receive_message_length", _MAX_MESSAGE))
        self._channel = grpc.aio.insecure_channel(address, options)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._prefix = prefix
        self._made = 0
        self._shares = True
        self._closed = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._regions: set[SharedSlot] = set()
        self._slots: asyncio.LifoQueue[SharedSlot | None] = asyncio.LifoQueue()
        for _ in range(slots):
            self._slots.put_nowait(None)

    @property
    def shared_bytes(self) -> int:
        """Shared memory in use."""
        return sum(slot.size for slot in self._regions)

    async def close(self) -> None:
        """Close the connection and give the shared memory back."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await self._channel.close()
        for slot in self._regions:
            slot.remove()
        self._regions.clear()

    async def infer(
        self,
        model: str,
        version: int,
        tensors: Mapping[str, NDArray[Any]],
        outputs: Mapping[str, int],
    ) -> dict[str, Output]:
        """Run one inference when a slot is free.

        A caller that gives up does not stop Triton: the slot stays taken until Triton is done with it.

        Args:
            model: Model name.
            version: Model version, always named: a version that is only being tried must not answer.
            tensors: Input arrays by name.
            outputs: Names of the wanted outputs; for a uint8 image the most bytes that it can have, for
                others 0.

        Raises:
            grpc.aio.AioRpcError: Triton's refusal, or its absence.
            TritonChannelClosedError: `close` was called meanwhile.
        """
        slot = await self._slots.get()
        if self._closed:
            self._slots.put_nowait(None)  # for the next one that waits
            raise TritonChannelClosedError
        task = asyncio.create_task(self._use(slot, model, version, tensors, outputs))
        self._tasks.add(task)
        task.add_done_callback(self._finish)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if self._closed:
                raise TritonChannelClosedError from None
            raise

    async def load(self, model: str, timeout_s: float) -> None:
        """Let Triton read a model's folder again.

        Raises:
            grpc.aio.AioRpcError: It cannot be loaded; what was loaded before still is.
        """
        request = service_pb2.RepositoryModelLoadRequest(model_name=model)
        await self._stub.RepositoryModelLoad(request, timeout=timeout_s)

    def _finish(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen, even when the caller has given up

    async def _use(
        self,
        slot: SharedSlot | None,
        model: str,
        version: int,
        tensors: Mapping[str, NDArray[Any]],
        outputs: Mapping[str, int],
    ) -> dict[str, Output]:
        try:
            needed = max([a.nbytes for a in tensors.values()] + list(outputs.values()))
            slot = await self._fitting(slot, needed)
            request = _request(model, version, tensors, outputs, slot)
            try:
                reply = await self._stub.ModelInfer(request, timeout=_MAX_S)
            except grpc.aio.AioRpcError as err:
                if slot is not None and err.code() in _UNSURE:
                    await self._retire(slot)
                    slot = None
                raise
            shared = {wanted.name for wanted in request.outputs if wanted.parameters}
            return {
                tensor.name: Output(
                    tensor.datatype,
                    tuple(tensor.shape),
                    slot.take(math.prod(tensor.shape))
                    if slot is not None and tensor.name in shared
                    else reply.raw_output_contents[index],
                )
                for index, tensor in enumerate(reply.outputs)
            }
        finally:
            self._slots.put_nowait(slot)

    async def _fitting(self, slot: SharedSlot | None, needed: int) -> SharedSlot | None:
        """Return a registered slot whose halves hold `needed` bytes, or what there is."""
        if not self._shares or not _WORTH_SHARING <= needed <= LARGEST_HALF:
            return slot
        if slot is not None:
            if slot.half >= needed:
                return slot
            await self._retire(slot)
        self._made += 1
        try:
            slot = SharedSlot(f"{self._prefix}gateway_{self._made}", needed)
        except OSError:
            self._shares = False
            return None
        self._regions.add(slot)
        request = service_pb2.SystemSharedMemoryRegisterRequest(
            name=slot.name, key=f"/{slot.name}", byte_size=slot.size
        )
        try:
            await self._stub.SystemSharedMemoryRegister(request, timeout=5)
        except grpc.aio.AioRpcError:
            self._shares = False
            await self._retire(slot)
            return None
        return slot

    async def _retire(self, slot: SharedSlot) -> None:
        """Take a slot out of use; Triton refuses to unregister one in use, and then forgets it at its end."""
        slot.remove()
        self._regions.discard(slot)
        request = service_pb2.SystemSharedMemoryUnregisterRequest(name=slot.name)
        with contextlib.suppress(grpc.aio.AioRpcError):
            await self._stub.SystemSharedMemoryUnregister(request, timeout=5)


def _request(
    model: str,
    version: int,
    tensors: Mapping[str, NDArray[Any]],
    outputs: Mapping[str, int],
    slot: SharedSlot | None,
) -> service_pb2.ModelInferRequest:
    """Build Triton's request; the image of each side goes through the slot if it is large and fits."""
    request = service_pb2.ModelInferRequest(model_name=model, model_version=str(version))
    for name, array in tensors.items():
        tensor = request.inputs.add(name=name, datatype=DATATYPES[array.dtype.name], shape=array.shape)
        if slot is not None and array.dtype == np.uint8 and _WORTH_SHARING <= array.nbytes <= slot.half:
            slot.put(array)
            tensor.parameters[_REGION].string_param = slot.name
            tensor.parameters[_SIZE].int64_param = array.nbytes
        else:
            request.raw_input_contents.append(np.ascontiguousarray(array).tobytes())
    for name, most in outputs.items():
        wanted = request.outputs.add(name=name)
        if slot is not None and _WORTH_SHARING <= most <= slot.half:
            wanted.parameters[_REGION].string_param = slot.name
            wanted.parameters[_SIZE].int64_param = slot.half
            wanted.parameters[_OFFSET].int64_param = slot.half
    return request
