"""Shared memory between the gateway and Triton: frames go in and out without being copied into messages."""

from __future__ import annotations

import mmap
import os

import numpy as np
from numpy.typing import NDArray

from edge_triton.triton.bundled import SHARED_MEMORY

_SMALLEST_HALF = 8 << 20  # a 1080p frame
LARGEST_HALF = 64 << 20


class SharedSlot:
    """One region of shared memory: a half for what goes in, a half for what comes out.

    Its name should start with the prefix that the server's keeper cleans up after.

    Args:
        name: File name under /dev/shm.
        needed: Bytes that each half must hold at least.

    Attributes:
        name: As given.
        half: Bytes of a half; the second one starts there.

    Raises:
        OSError: There is no room: it would take more than a quarter of what is free, and Triton needs
            shared memory too.
    """

    def __init__(self, name: str, needed: int) -> None:
        self.name = name
        self.half = max(_SMALLEST_HALF, 1 << (needed - 1).bit_length())
        self._path = SHARED_MEMORY / name
        room = os.statvfs(SHARED_MEMORY)
        if self.size > room.f_bavail * room.f_frsize // 4:
            raise OSError("too little shared memory")
        handle = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            # Takes the memory now: a page that cannot be had later would kill whoever touches it.
            os.posix_fallocate(handle, 0, self.size)
            self._memory = mmap.mmap(handle, self.size)
        except BaseException:
            self._path.unlink()
            raise
        finally:
            os.close(handle)

    @property
    def size(self) -> int:
        """Bytes of the region."""
        return 2 * self.half

    def put(self, array: NDArray[np.uint8]) -> None:
        """Copy an array into the first half."""
        np.copyto(np.frombuffer(self._memory, array.dtype, array.size).reshape(array.shape), array)

    def take(self, count: int) -> bytes:
        """Return the first `count` bytes of the second half."""
        return self._memory[self.half : self.half + count]

    def remove(self) -> None:
        """Remove the name; the memory goes when Triton lets go of it too."""
        self._path.unlink(missing_ok=True)
