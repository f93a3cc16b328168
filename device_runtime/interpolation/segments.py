"""Segments of a video: a key frame, the intermediate frames after it, and the next key frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from device_runtime.interpolation.interpolator import KeyFrameResult
from device_runtime.key_frames.policy import KeyFrameSelector
from device_runtime.media.planes import Picture, luma_of
from device_runtime.media.reader import Frame
from device_runtime.motion.flow import FlowEstimator, Luma, Motion
from device_runtime.report import Stopwatch
from mvstylizer.stylizer import StylizedFrame

DROPPED: Final = np.empty((0, 0, 3), np.uint8)  # in place of a picture that is decoded again


@dataclass(frozen=True)
class PreparedFrame:
    """A frame and the luma prepared for motion estimation."""

    frame: Frame
    luma: Luma


@dataclass(frozen=True)
class KeyFrame(PreparedFrame):
    """A key frame and the stylizer's reply, which may be pending."""

    reply: Future[StylizedFrame]

    @cached_property
    def stylized(self) -> KeyFrameResult:
        """The key frame with its reply; waits for it and raises what the request raised."""
        return KeyFrameResult(self.frame.picture, self.reply.result())


@dataclass(frozen=True)
class Segment:
    """A key frame and the frames up to the next one.

    Attributes:
        key: The key frame at its start.
        between: The intermediate frames, in presentation order.
        following: The next key frame, which starts the next segment; None if a cut or the end of the video
            comes first, so that no style crosses a cut.
    """

    key: KeyFrame
    between: list[PreparedFrame] = field(default_factory=list)
    following: KeyFrame | None = None

    def position(self, frame: Frame) -> float:
        """Position of a frame in time between the key frame (0) and the following one (1); 0 without one."""
        if self.following is None:
            return 0.0
        start = self.key.frame.pts
        return (frame.pts - start) / (self.following.frame.pts - start)

    @property
    def seconds(self) -> float:
        """Time from the key frame to the following one; 0 without one."""
        if self.following is None:
            return 0.0
        first, last = self.key.frame, self.following.frame
        return float((last.pts - first.pts) * first.time_base)


def segments(
    frames: Iterable[Frame],
    selector: KeyFrameSelector,
    submit: Callable[[Picture], Future[StylizedFrame]],
    flow: FlowEstimator,
    watch: Stopwatch,
    *,
    two_sided: bool,
    first: int = 0,
    holds_pictures: bool = True,
) -> Iterator[Segment]:
    """Divide a video into segments and submit each key frame as soon as it is found.

    Holds the frames of one segment at a time; the selector bounds their number.

    Args:
        frames: In presentation order.
        selector: Selects key frames; the first frame must be one.
        submit: Sends a key frame to the stylizer and returns the pending reply.
        flow: Prepares frames.
        watch: Records the time as ``key_frames`` and ``flow``.
        two_sided: False omits `Segment.following`, as in the paper.
        first: Index of the first frame to yield, a key frame. Earlier frames only go through the selector, so
            that its decisions do not change.
        holds_pictures: False drops the pictures of intermediate frames once they are prepared.

    Yields:
        Segments in order; every frame from `first` on is in exactly one.
    """
    segment: Segment | None = None
    for frame in frames:
        with watch.measure("key_frames"):
            decision = selector.decide(frame)
        if frame.index < first:
            continue
        with watch.measure("flow"):
            luma = flow.prepare(luma_of(frame.picture))
        if segment is not None and not decision.is_key:
            held = frame if holds_pictures else replace(frame, picture=DROPPED)
            segment.between.append(PreparedFrame(held, luma))
            continue
        key = KeyFrame(frame, luma, submit(frame.picture))
        if segment is not None:
            yield replace(segment, following=key if two_sided and not decision.is_cut else None)
        segment = Segment(key)
    if segment is not None:
        yield segment


def motions(frames: Sequence[PreparedFrame], key: KeyFrame, flow: FlowEstimator) -> Iterator[Motion]:
    """Yield the motion of frames relative to one key frame, given the frame nearest to it first."""
    motion, previous = flow.follow(key.luma), key.frame
    for each in frames:
        yield motion(each.luma, _step(previous, each.frame))
        previous = each.frame


def _step(neighbor: Frame, frame: Frame) -> NDArray[np.float32] | None:
    """Return the codec's motion from `frame` to a frame next to it in time; None if unknown."""
    if frame.index == neighbor.index + 1:
        return frame.codec_motion
    if frame.index == neighbor.index - 1 and neighbor.codec_motion is not None:
        return -neighbor.codec_motion
    return None
