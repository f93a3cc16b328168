"""Stages of one job that run beside each other, each in a thread, joined by bounded queues.

The work is done by libraries that release Python's lock (FFmpeg, OpenCV, LiteRT, x264), so it does overlap.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

Item = TypeVar("Item")


class _CancelledError(Exception):
    """The job is given up; unwinds a stage that waits for its source."""


class Prefetcher:
    """Runs iterators ahead of whoever reads them.

    Use as a context manager. An error in a stage comes out where the items are read, after the items that
    came before it. Leaving ends all stages and waits for their threads, so that what they used can be closed.
    """

    def __init__(self) -> None:
        self._belts: list[_BoundedQueue[Any]] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for belt in self._belts:
            belt.cancel()
        for thread in self._threads:
            thread.join()

    def ahead(self, items: Iterable[Item], depth: int) -> Iterator[Item]:
        """Run an iterator in a thread of its own, ahead of the reader.

        Args:
            items: What to read; only the new thread touches it from now on.
            depth: How many items may wait, at least 1. The next one is only begun when there is room for it.

        Returns:
            The items in order, for one reader.
        """
        belt: _BoundedQueue[Item] = _BoundedQueue(depth)
        self._belts.append(belt)
        # A daemon, so that an interpreter that is shut down without leaving this block does not hang.
        thread = threading.Thread(target=belt.fill, args=(items,), name="stage", daemon=True)
        self._threads.append(thread)
        thread.start()
        return belt.items()


class _BoundedQueue(Generic[Item]):
    """A bounded queue between one thread that fills it and one that empties it."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._waiting: deque[Item] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._cancelled = False
        self._error: BaseException | None = None

    def cancel(self) -> None:
        """Make both sides end at their next step."""
        with self._changed:
            self._cancelled = True
            self._changed.notify_all()

    def fill(self, source: Iterable[Item]) -> None:
        """Put the items of a source on the belt, until its end, its error or the cancellation."""
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
        """Give the items; raises what the source raised."""
        while self._has_more():
            yield self._take()  # no name holds on to an item while the next one is awaited
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
