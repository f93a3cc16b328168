"""Turn interlaced frames into progressive ones of the same times with FFmpeg's bwdif."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, Final, Literal

import av
from av.filter import Graph

Deinterlace = Literal["auto", "off"]
DEINTERLACE: Final = ("auto", "off")
TOP_FIRST, BOTTOM_FIRST = "tff", "bff"
_BOTTOM_FIRST_ORDERS = (3, 5)  # AVFieldOrder: BB, BT


def field_order(frame: av.VideoFrame, codec_order: int) -> str:
    """Return ``tff`` or ``bff`` for an interlaced frame, an empty string for a progressive one.

    Args:
        frame: The decoded frame.
        codec_order: The codec's ``AVFieldOrder``; unknown counts as top field first.
    """
    if not frame.interlaced_frame:
        return ""
    return BOTTOM_FIRST if codec_order in _BOTTOM_FIRST_ORDERS else TOP_FIRST


class Deinterlacer:
    """Passes progressive frames through and deinterlaces the others, in order, with a delay of one frame.

    Attributes:
        is_used: Whether a frame was interlaced.
    """

    def __init__(self) -> None:
        self.is_used = False
        self._graph: Graph | None = None
        self._layout: tuple[Any, ...] = ()
        self._time_base = Fraction(1)

    def __call__(self, frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        """Yield as many frames as are given, with their times, tags and side data."""
        for frame in frames:
            layout = frame.width, frame.height, frame.format.name, frame.time_base
            if self._graph is not None and layout != self._layout:
                yield from self._finished()
            if self._graph is None and frame.interlaced_frame:
                self._open(frame, layout)
            if self._graph is None:
                yield frame
                continue
            self._graph.vpush(frame)
            yield from self._pulled()
        yield from self._finished()

    def _open(self, frame: av.VideoFrame, layout: tuple[Any, ...]) -> None:
        self.is_used = True
        self._layout, self._time_base = layout, frame.time_base or Fraction(1)
        self._graph = Graph()
        source = self._graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
        # A frame for each frame, by the field order of each; frames that are progressive pass unchanged.
        bwdif = self._graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
        self._graph.link_nodes(source, bwdif, self._graph.add("buffersink")).configure()

    def _finished(self) -> Iterator[av.VideoFrame]:
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._pulled()
            self._graph = None

    def _pulled(self) -> Iterator[av.VideoFrame]:
        while self._graph is not None:
            try:
                frame = self._graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return
            if frame.pts is not None and frame.time_base is not None:
                scale = frame.time_base / self._time_base
                frame.pts, frame.duration = (
                    round(units * scale) for units in (frame.pts, frame.duration or 0)
                )
                frame.time_base = self._time_base
            yield frame
