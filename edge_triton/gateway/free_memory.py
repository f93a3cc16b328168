"""Returns memory to the system after a burst: the allocator keeps pages, and slots their largest size."""

from __future__ import annotations

import asyncio
import ctypes
import logging

from edge_triton.gateway.serving_state import ServingState

_LOG = logging.getLogger(__name__)
_POLL_S = 3.0
_M_ARENA_MAX = -8  # of malloc.h


def limit_arenas() -> None:
    """Let all threads of this process share two of glibc's memory arenas, before it starts any.

    Otherwise each thread keeps what its largest request has used, in fragments that cannot be returned.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 2)


async def return_free_memory(state: ServingState) -> None:
    """Release shared memory that is too large and idle, and the allocator's free pages, until cancelled.

    Args:
        state: Holds the channel, which owns the shared memory.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only; musl returns pages by itself
    while True:
        await asyncio.sleep(_POLL_S)
        try:
            if state.channel is not None:
                await state.channel.shrink(_POLL_S)
            if trim is not None:
                await asyncio.to_thread(trim, 0)
        except (
            Exception
        ) as err:  # the channel was closed in the meantime, for example: the next time may work
            _LOG.warning("memory cannot be returned: %s", err)
