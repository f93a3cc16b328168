"""Concurrent stages of one job: a thread per stage, connected by bounded queues.

The work is done by libraries that release the GIL (FFmpeg, OpenCV, LiteRT, x264), so the stages overlap.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

Item = TypeVar("Item")


class _CancelledError(Exception):
    """The job was cancelled; unwinds a stage that waits for its source."""


class Prefetcher:
    """Runs iterators in threads, ahead of their consumer.

    Use as a context manager. An error in a stage is raised to the consumer, after the items that preceded it.
    Leaving the block ends all stages and joins their threads, so that their resources can be closed.
    """

    def __init__(self) -> None:
        self._queues: list[_BoundedQueue[Any]] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for queue in self._queues:
            queue.cancel()
        for thread in self._threads:
            thread.join()

    def ahead(self, items: Iterable[Item], depth: int) -> Iterator[Item]:
        """Run an iterator in its own thread, ahead of the consumer.

        Args:
            items: The iterator; used by the new thread only.
            depth: Number of items that may be queued, at least 1. The next one is computed once there is
                room.

        Returns:
            The items in order, for one consumer.
        """
        queue: _BoundedQueue[Item] = _BoundedQueue(depth)
        self._queues.append(queue)
        # A daemon, so that an interpreter that exits without leaving this block does not hang.
        thread = threading.Thread(target=queue.fill, args=(items,), name="stage", daemon=True)
        thread.start()
        self._threads.append(thread)
        return queue.items()


class _BoundedQueue(Generic[Item]):
    """A bounded queue with one producer thread and one consumer thread."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._waiting: deque[Item] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._cancelled = False
        self._error: BaseException | None = None

    def cancel(self) -> None:
        """End both sides at their next step."""
        with self._changed:
            self._cancelled = True
            self._changed.notify_all()

    def fill(self, source: Iterable[Item]) -> None:
        """Queue the items of a source until it ends, fails or is cancelled."""
        try:
            iterator = iter(source)
            while self._has_room():
                self._put(next(iterator))
        except StopIteration:
            pass
        except BaseException as error:
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def items(self) -> Iterator[Item]:
        """Yield the items; raises what the source raised."""
        while self._has_more():
            yield self._take()  # not bound to a name, so that an item is not kept alive while waiting
        if self._error is not None:
            raise self._error

    def _has_room(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) < self._depth or self._cancelled)
            return not self._cancelled

    def _put(self, item: Item) -> None:
        with self._changed:
            self._waiting.append(item)
            self._changed.notify_all()

    def _has_more(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended or self._cancelled)
            if self._cancelled:
                raise _CancelledError
            return bool(self._waiting)

    def _take(self) -> Item:
        with self._changed:
            item = self._waiting.popleft()
            self._changed.notify_all()
            return item
