"""A video cut into segments: a key frame, the frames up to the next one, and that next one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from device_runtime.interpolation.interpolator import KeyFrameResult
from device_runtime.key_frames.policy import KeyFrameSelector
from device_runtime.media.reader import Frame
from device_runtime.motion.flow import FlowEstimator, Luma, Motion
from device_runtime.report import Stopwatch
from mvstylizer.stylizer import StylizedFrame


@dataclass(frozen=True)
class PreparedFrame:
    """A frame and what flow estimation needs of it."""

    frame: Frame
    luma: Luma


@dataclass(frozen=True)
class KeyFrame(PreparedFrame):
    """A key frame and the stylizer's reply, which may still be on its way."""

    reply: Future[StylizedFrame]

    @cached_property
    def stylized(self) -> KeyFrameResult:
        """The key frame with its reply; waits for it, and raises what the request raised."""
        return KeyFrameResult(self.frame.rgb, self.reply.result())


@dataclass(frozen=True)
class Segment:
    """What lies between two key frames.

    Attributes:
        key: The key frame that it starts with.
        between: The intermediate frames, in presentation order.
        following: The key frame that ends it, which belongs to the next segment; None when a cut or the end
            of the video comes first, so that nothing is ever taken across a cut.
    """

    key: KeyFrame
    between: list[PreparedFrame] = field(default_factory=list)
    following: KeyFrame | None = None

    def position(self, frame: Frame) -> float:
        """Where a frame lies in time from the key frame (0) to the following one (1); 0 without one."""
        if self.following is None:
            return 0.0
        start = self.key.frame.pts
        return (frame.pts - start) / (self.following.frame.pts - start)

    @property
    def seconds(self) -> float:
        """From the key frame to the following one; 0 without one."""
        if self.following is None:
            return 0.0
        first, last = self.key.frame, self.following.frame
        return float((last.pts - first.pts) * first.time_base)


def segments(
    frames: Iterable[Frame],
    selector: KeyFrameSelector,
    submit: Callable[[NDArray[np.uint8]], Future[StylizedFrame]],
    flow: FlowEstimator,
    watch: Stopwatch,
    *,
    two_sided: bool,
    first: int = 0,
) -> Iterator[Segment]:
    """Divide a video into segments, and send off each key frame as soon as it is found.

    Only one segment's frames are held at a time, and the selector bounds how many those are.

    Args:
        frames: In presentation order.
        selector: Decides which are key frames; the first one must be.
        submit: Sends a key frame to the stylizer and returns the reply to come.
        flow: Prepares frames.
        watch: Takes the time as ``key_frames`` and ``flow``.
        two_sided: False leaves `Segment.following` out, as the paper does.
        first: The frame to begin with, a key frame. Those before it are only shown to the selector, so that
            it decides as if nothing had been left out.

    Yields:
        Every frame from `first` on in exactly one segment, in order.
    """
    segment: Segment | None = None
    for frame in frames:
        with watch.measure("key_frames"):
            decision = selector.decide(frame)
        if frame.index < first:
            continue
        with watch.measure("flow"):
            luma = flow.prepare(frame.rgb)
        if segment is not None and not decision.is_key:
            segment.between.append(PreparedFrame(frame, luma))
            continue
        key = KeyFrame(frame, luma, submit(frame.rgb))
        if segment is not None:
            yield replace(segment, following=key if two_sided and not decision.is_cut else None)
        segment = Segment(key)
    if segment is not None:
        yield segment


def motions(frames: Sequence[PreparedFrame], key: KeyFrame, flow: FlowEstimator) -> Iterator[Motion]:
    """Give the motion of frames relative to one key frame, the frame nearest to it first."""
    motion, before = flow.follow(key.luma), key.frame
    for each in frames:
        yield motion(each.luma, _step(before, each.frame))
        before = each.frame


def _step(before: Frame, frame: Frame) -> NDArray[np.float32] | None:
    """Return the codec's motion from `frame` back to `before`, its neighbour in time; None if not known."""
    if frame.index == before.index + 1:
        return frame.codec_motion
    if frame.index == before.index - 1 and before.codec_motion is not None:
        return -before.codec_motion
    return None
