"""Asynchronous requests: key frames go to the stylizer in the background."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from device_runtime.media.planes import Picture, Planes, in_rgb
from device_runtime.report import Stopwatch
from device_runtime.stylizers.fallback import Fallback, GuardedReply, GuardedStylizer
from device_runtime.stylizers.resize import shrunk
from device_runtime.stylizers.skin import protected
from device_runtime.stylizers.style_mix import StyleMix
from mvstylizer.errors import MVStylizerError
from mvstylizer.stylizer import Reply, StylizedFrame, Stylizer


class KeyReplyError(MVStylizerError):
    """Error raised when the stylizer's reply does not fit the key frame."""


class KeyRequests:
    """Sends key frames to a stylizer, one at a time and in the order of submission.

    Use as a context manager. Leaving it because of an error does not wait for pending replies: they are
    cancelled, which wakes every thread that waits for one.

    Attributes:
        fell_back: Numbers (from 0, in the order of submission) of the key frames that the fallback stylized.
        bytes_sent: Tensor bytes sent so far, without gRPC's framing.
        bytes_received: Tensor bytes received so far.

    Args:
        stylizer: The stylizer; used from one background thread while this object is open.
        style: The style.
        reply: ``image`` or ``map``. A map covers the whole frame whatever its size, so for a map only a
            thumbnail of `map_pixels` is sent: a few tens of kilobytes instead of a whole frame.
        map_pixels: Pixel budget of the stylizer's network.
        watch: Records the time of the requests as ``edge``.
        protect_skin: Hold the maps back on skin; see `device_runtime.stylizers.skin`.
        fallback: Loads a stylizer for the time that `stylizer` is unavailable; see `GuardedStylizer`.

    Raises:
        MVStylizerError: The stylizer cannot be reached, or rejects the style photo.
    """

    def __init__(
        self,
        stylizer: Stylizer,
        style: StyleMix,
        *,
        reply: Reply,
        map_pixels: int,
        watch: Stopwatch,
        protect_skin: bool = False,
        fallback: Fallback | None = None,
    ) -> None:
        self.fell_back: list[int] = []
        self.bytes_sent = self.bytes_received = 0
        self._reply = reply
        self._map_pixels = map_pixels
        self._protect_skin = protect_skin
        self._watch = watch
        self._replies: list[Future[StylizedFrame]] = []
        self._sent = 0
        self._thread = ThreadPoolExecutor(1, "key-frames")
        try:
            opened = self._thread.submit(self._open, stylizer, style, fallback)
            self._stylizer = opened.result()
        except BaseException:
            self._thread.shutdown(wait=False, cancel_futures=True)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=error is None, cancel_futures=error is not None)
        for reply in self._replies:  # after the shutdown, so that none can be added
            reply.cancel()
        self._stylizer.close()

    def submit(self, key: Picture) -> Future[StylizedFrame]:
        """Send a key frame.

        Args:
            key: uint8 RGB (H, W, 3) or planes, which are converted to RGB. Of HDR its SDR view is sent, and
                the map is converted back (`Planes.own_grid`).

        Returns:
            The pending reply; its `result` raises what the stylizer raised, KeyReplyError, or GridError.
        """
        # Not the executor's own future: a running one cannot be cancelled.
        reply: Future[StylizedFrame] = Future()
        self._replies = [*(each for each in self._replies if not each.done()), reply]
        self._thread.submit(self._answer, reply, self._sent, key)
        self._sent += 1
        return reply

    def _open(self, stylizer: Stylizer, style: StyleMix, fallback: Fallback | None) -> GuardedStylizer:
        with self._watch.measure("edge"):
            return GuardedStylizer(stylizer, style, fallback)

    def _answer(self, reply: Future[StylizedFrame], number: int, key: Picture) -> None:
        try:
            guarded = self._request(key)
        except BaseException as error:
            if not reply.cancelled():
                reply.set_exception(error)
            return
        if guarded.fell_back:
            self.fell_back.append(number)
        self.bytes_sent += guarded.key.sent
        self.bytes_received += guarded.key.received
        if not reply.cancelled():
            reply.set_result(guarded.key)

    def _request(self, key: Picture) -> GuardedReply:
        sent = _small(key, self._map_pixels) if self._reply == "map" else in_rgb(key)
        with self._watch.measure("edge"):
            guarded = self._stylizer.stylize(sent, self._reply)
        got = guarded.key
        fits = got.grid is not None if self._reply == "map" else _shape(got.image) == key.shape
        if not fits:
            raise KeyReplyError(
                f"The stylizer's reply ({self._reply}) does not fit a key frame of shape {key.shape}",
                "Check that the edge serves an MVStylizer bundle",
            )
        grid = got.grid
        if grid is not None and self._protect_skin:
            grid = protected(grid, sent)
        if grid is not None and isinstance(key, Planes):
            grid = key.own_grid(grid)
        if grid is not got.grid:
            return guarded._replace(key=got._replace(grid=grid))
        return guarded


def _small(key: Picture, pixels: int) -> NDArray[np.uint8]:
    return key.shrunk(pixels) if isinstance(key, Planes) else shrunk(key, pixels)


def _shape(picture: NDArray[np.uint8] | None) -> tuple[int, ...]:
    return () if picture is None else picture.shape
