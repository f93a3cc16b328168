"""The gateway's connection to Triton: gRPC on loopback, frames through shared memory.

Every message to Triton is built here from validated arrays; no part of a client's message is forwarded.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2, service_pb2_grpc

from edge_triton.gateway.call import CANARY, Call
from edge_triton.gateway.contract import DATATYPES
from edge_triton.gateway.fair_queue import FairQueue
from edge_triton.gateway.shared_memory import MAX_HALF_BYTES, MIN_HALF_BYTES, SharedSlot

_MAX_MESSAGE_BYTES = 2**31 - 1
_MIN_SHARED_BYTES = 1 << 16  # smaller tensors travel in the message
_INFER_TIMEOUT_S = 120.0
_REGISTER_TIMEOUT_S = 5.0
_NETWORK_PIXELS = 150_000  # about the same for every image
_REGION = "shared_memory_region"
_SIZE = "shared_memory_byte_size"
_OFFSET = "shared_memory_offset"
# After these errors Triton may still be running and write into the shared memory.
_MAYBE_RUNNING = {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}


class TritonChannelClosedError(Exception):
    """The channel was closed while a request was running."""


class Output(NamedTuple):
    """One output tensor: KServe datatype, shape, bytes in row-major order."""

    datatype: str
    shape: tuple[int, ...]
    data: bytes


class TritonChannel:
    """The channel to one running Triton. Belongs to one event loop.

    Shared memory is optional: if Triton rejects it or too little is free, tensors travel in the messages.

    Args:
        address: ``HOST:PORT`` of Triton.
        prefix: Prefix of the names of shared memory regions.
        slots: Concurrent requests to Triton; more wait here.
    """

    def __init__(self, address: str, prefix: str, slots: int) -> None:
        options = [("grpc.max_send_message_length", _MAX_MESSAGE_BYTES), ("grpc.enable_http_proxy", 0)]
        options.append(("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES))
        self._channel = grpc.aio.insecure_channel(address, options)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._prefix = prefix
        self._slot_count = 0
        self._uses_shared_memory = True
        self._closed = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._regions: set[SharedSlot] = set()
        self._slots: list[SharedSlot | None] = [None] * slots
        self._turns = FairQueue(slots)

    @property
    def shared_bytes(self) -> int:
        """Shared memory in use, in bytes."""
        return sum(slot.size for slot in tuple(self._regions))

    async def close(self) -> None:
        """Close the channel and free its shared memory; running requests raise `TritonChannelClosedError`."""
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
        call: Call = CANARY,
    ) -> dict[str, Output]:
        """Run one inference as soon as it is the client's turn.

        Cancelling the caller does not stop Triton: the slot stays in use until Triton has finished.

        Args:
            model: Model name.
            version: Model version; always explicit, as a version still under test must not answer.
            tensors: Input arrays by name.
            outputs: Requested outputs by name, each with its largest possible size in bytes if it is an
                image, otherwise 0.
            call: Who sent the request.

        Raises:
            grpc.aio.AioRpcError: Triton rejects the request, fails, or is down.
            TritonChannelClosedError: `close` was called in the meantime.
        """
        await self._turns.acquire(call.client, _work(tensors, outputs))
        if self._closed:
            self._turns.release(call.client)  # wakes the next waiting caller
            raise TritonChannelClosedError
        task = asyncio.create_task(self._use(self._slots.pop(), model, version, tensors, outputs, call))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._finish(done, call.client))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if self._closed:
                raise TritonChannelClosedError from None
            raise

    async def shrink(self, idle_s: float) -> None:
        """Remove shared memory larger than usual that has not been used for a time.

        Args:
            idle_s: That time, in seconds.
        """
        before = time.monotonic() - idle_s
        for slot in tuple(self._slots):
            if slot is not None and slot.half_bytes > MIN_HALF_BYTES and slot.used_at < before:
                self._slots[self._slots.index(slot)] = None
                await self._retire(slot)

    async def load(self, model: str, timeout_s: float) -> None:
        """Have Triton load a model again from its folder.

        Args:
            model: Model name.
            timeout_s: Time for loading, in seconds.

        Raises:
            grpc.aio.AioRpcError: It fails to load; the versions loaded before stay loaded.
        """
        request = service_pb2.RepositoryModelLoadRequest(model_name=model)
        await self._stub.RepositoryModelLoad(request, timeout=timeout_s)

    def _finish(self, task: asyncio.Task[Any], client: str) -> None:
        self._tasks.discard(task)
        self._turns.release(client)
        if not task.cancelled():
            task.exception()  # retrieved, even if the caller has gone

    async def _use(
        self,
        slot: SharedSlot | None,
        model: str,
        version: int,
        tensors: Mapping[str, NDArray[Any]],
        outputs: Mapping[str, int],
        call: Call,
    ) -> dict[str, Output]:
        try:
            needed = max([a.nbytes for a in tensors.values()] + list(outputs.values()))
            slot = await self._fitting(slot, needed)
            request = _request(model, version, tensors, outputs, slot)
            try:
                reply = await self._stub.ModelInfer(
                    request, timeout=_INFER_TIMEOUT_S, metadata=_headers(call)
                )
            except grpc.aio.AioRpcError as err:
                if slot is not None and err.code() in _MAYBE_RUNNING:
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
            if slot is not None:
                slot.used_at = time.monotonic()
            self._slots.append(slot)

    async def _fitting(self, slot: SharedSlot | None, needed: int) -> SharedSlot | None:
        """Return a registered slot with halves of `needed` bytes, or the given slot if that is impossible."""
        if not self._uses_shared_memory or not _MIN_SHARED_BYTES <= needed <= MAX_HALF_BYTES:
            return slot
        if slot is not None:
            if slot.half_bytes >= needed:
                return slot
            await self._retire(slot)
        self._slot_count += 1
        try:
            slot = SharedSlot(f"{self._prefix}gateway_{self._slot_count}", needed)
        except OSError:
            self._uses_shared_memory = False
            return None
        self._regions.add(slot)
        request = service_pb2.SystemSharedMemoryRegisterRequest(
            name=slot.name, key=f"/{slot.name}", byte_size=slot.size
        )
        try:
            await self._stub.SystemSharedMemoryRegister(request, timeout=_REGISTER_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            self._uses_shared_memory = False
            await self._retire(slot)
            return None
        return slot

    async def _retire(self, slot: SharedSlot) -> None:
        """Remove a slot; if Triton rejects that because it is in use, it drops the slot when it exits."""
        slot.remove()
        self._regions.discard(slot)
        request = service_pb2.SystemSharedMemoryUnregisterRequest(name=slot.name)
        with contextlib.suppress(grpc.aio.AioRpcError):
            await self._stub.SystemSharedMemoryUnregister(request, timeout=_REGISTER_TIMEOUT_S)


def _headers(call: Call) -> tuple[tuple[str, str], ...]:
    return (("traceparent", call.trace),) if call.trace else ()


def _work(tensors: Mapping[str, NDArray[Any]], outputs: Mapping[str, int]) -> float:
    """Return the size of a request in pixels: of its network, of its image, and of its answer."""
    sizes = sum(tensor.nbytes for tensor in tensors.values()) + sum(outputs.values())
    return _NETWORK_PIXELS + sizes / 3


def _request(
    model: str,
    version: int,
    tensors: Mapping[str, NDArray[Any]],
    outputs: Mapping[str, int],
    slot: SharedSlot | None,
) -> service_pb2.ModelInferRequest:
    """Build Triton's request; a large image that fits goes through the slot, in either direction."""
    request = service_pb2.ModelInferRequest(model_name=model, model_version=str(version))
    for name, array in tensors.items():
        tensor = request.inputs.add(name=name, datatype=DATATYPES[array.dtype.name], shape=array.shape)
        if (
            slot is not None
            and array.dtype == np.uint8
            and _MIN_SHARED_BYTES <= array.nbytes <= slot.half_bytes
        ):
            slot.put(array)
            tensor.parameters[_REGION].string_param = slot.name
            tensor.parameters[_SIZE].int64_param = array.nbytes
        else:
            request.raw_input_contents.append(np.ascontiguousarray(array).tobytes())
    for name, max_bytes in outputs.items():
        wanted = request.outputs.add(name=name)
        if slot is not None and _MIN_SHARED_BYTES <= max_bytes <= slot.half_bytes:
            wanted.parameters[_REGION].string_param = slot.name
            wanted.parameters[_SIZE].int64_param = slot.half_bytes
            wanted.parameters[_OFFSET].int64_param = slot.half_bytes
    return request
