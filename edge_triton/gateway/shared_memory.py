"""Shared memory between the gateway and Triton: frames travel without being copied into messages."""

from __future__ import annotations

import mmap
import os
import time

import numpy as np
from numpy.typing import NDArray

from edge_triton.triton.bundled import SHARED_MEMORY

MIN_HALF_BYTES = 8 << 20  # a 1080p frame
MAX_HALF_BYTES = 64 << 20


class SharedSlot:
    """One region of shared memory: one half for inputs, the other for outputs.

    Its name should start with the server's prefix, so that the server's reaper removes it.

    Args:
        name: File name under /dev/shm.
        min_half_bytes: Smallest size of each half, in bytes.

    Attributes:
        name: The file name.
        half_bytes: Size of a half; the second half starts at this offset.
        used_at: When it was last used, on the monotonic clock.

    Raises:
        OSError: The region would take more than a quarter of the free shared memory, which Triton needs too.
    """

    def __init__(self, name: str, min_half_bytes: int) -> None:
        self.name = name
        self.used_at = time.monotonic()
        self.half_bytes = max(MIN_HALF_BYTES, 1 << (min_half_bytes - 1).bit_length())
        self._path = SHARED_MEMORY / name
        room = os.statvfs(SHARED_MEMORY)
        if self.size > room.f_bavail * room.f_frsize // 4:
            raise OSError("not enough shared memory")
        handle = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            # Allocates every page now: one that is missing later would kill the process that touches it.
            os.posix_fallocate(handle, 0, self.size)
            self._memory = mmap.mmap(handle, self.size)
        except BaseException:
            self._path.unlink()
            raise
        finally:
            os.close(handle)

    @property
    def size(self) -> int:
        """Size of the region, in bytes."""
        return 2 * self.half_bytes

    def put(self, array: NDArray[np.uint8]) -> None:
        """Copy an array into the first half."""
        np.copyto(np.frombuffer(self._memory, array.dtype, array.size).reshape(array.shape), array)

    def take(self, count: int) -> bytes:
        """Return the first `count` bytes of the second half."""
        return self._memory[self.half_bytes : self.half_bytes + count]

    def remove(self) -> None:
        """Remove the name; the memory is freed when Triton unmaps it too."""
        self._path.unlink(missing_ok=True)
