"""Read a part of a video, given by times or frame numbers.

Usage:
    with ExcerptReader(Path("street.mp4"), Span.parse("1:30", "1:35")) as reader:
        for frame in reader:
            print(frame.index, frame.rgb.shape)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

import av

from device_runtime.media.deinterlace import Deinterlace
from device_runtime.media.input_lut import InputLut
from device_runtime.media.reader import Frame, VideoReader
from device_runtime.media.video_info import AV_TIME_BASE, VideoError, VideoInfo

FRAME_NUMBER: Final = re.compile(r"(\d+)f")
CLOCK: Final = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?|\.\d+)s?")
# Containers with an index, in which the times after a jump are those of a read from the start.
INDEXED: Final = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
WORTH_A_JUMP: Final = Fraction(10)  # seconds: earlier frames are decoded and dropped
MARGIN: Final = Fraction(
    2
)  # seconds before the start, because a keyframe may be shown after the frames it leads


class SpanError(ValueError):
    """Error raised for text that is neither a time nor a frame number, or for a part without a frame."""


class Moment(NamedTuple):
    """A place in a video: a time from its first frame, in seconds, or the number of a frame, from 0."""

    seconds: Fraction | None = None
    frame: int | None = None

    @classmethod
    def parse(cls, text: str) -> Moment:
        """Parse a time (``12.5``, ``1:30``, ``0:01:30.5``) or a frame number (``120f``).

        Raises:
            SpanError: It is neither.
        """
        if number := FRAME_NUMBER.fullmatch(text):
            return cls(frame=int(number[1]))
        if clock := CLOCK.fullmatch(text):
            hours, minutes, seconds = (Fraction(part or 0) for part in clock.groups())
            return cls(3600 * hours + 60 * minutes + seconds)
        raise SpanError(f"{text!r} is neither a time (12.5, 1:30) nor a frame number (120f)")

    def __str__(self) -> str:
        return f"frame {self.frame}" if self.seconds is None else f"{float(self.seconds):g} s"

    def is_by(self, index: int, seconds: Fraction) -> bool:
        """Return whether a frame, given by its number and its time, is at this moment or after it."""
        if self.seconds is not None:
            return seconds >= self.seconds
        return index >= (self.frame or 0)

    def in_seconds(self, rate: Fraction) -> Fraction:
        """Return the time, estimated from the frame rate for a frame number."""
        return self.seconds if self.seconds is not None else (self.frame or 0) / rate


BEGINNING: Final = Moment(Fraction(0))


class Span(NamedTuple):
    """A part of a video.

    Attributes:
        start: The first frame is the first one at or after it; None = the video's first.
        end: The first frame that is left out; None = none.
    """

    start: Moment | None = None
    end: Moment | None = None

    @classmethod
    def parse(cls, start: str | None, end: str | None) -> Span:
        """Parse both ends; see `Moment.parse`.

        Raises:
            SpanError: An end is invalid, or the end is not after the start.
        """
        span = cls(Moment.parse(start) if start else None, Moment.parse(end) if end else None)
        first, last = span.start or BEGINNING, span.end
        if last is not None and (first.seconds is None) == (last.seconds is None) and last <= first:
            raise SpanError(f"the end ({last}) is not after the start ({first})")
        if last is not None and not (last.seconds or last.frame):
            raise SpanError(f"the end ({last}) leaves no frame")
        return span

    def check_within(self, info: VideoInfo) -> None:
        """Check early, as far as the file declares its duration, whether the part has a frame.

        Args:
            info: The whole video.

        Raises:
            VideoError: The video ends before the part begins.
        """
        if self.start and info.duration and self.start.in_seconds(info.rate) >= info.duration:
            raise beyond_the_end(info, self.start)

    @property
    def jump_to(self) -> Fraction | None:
        """The time at which it begins; None if frames must be counted from the first one."""
        by_number = self.end is not None and self.end.seconds is None
        return None if self.start is None or by_number else self.start.seconds

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole video."""
        return self.start is None and self.end is None


WHOLE: Final = Span()


def beyond_the_end(info: VideoInfo, moment: Moment) -> VideoError:
    """Return the error of a moment after the last frame."""
    lasts = f": it lasts {float(info.duration):.2f} s" if info.duration else ""
    return VideoError(f"{info.path.name} ends before {moment}{lasts}", "Choose a part within the video")


class ExcerptReader(VideoReader):
    """Reads a part of a video as if it were a file of its own.

    Frames are numbered from 0. `info` describes the part: its `start` is the time of the first frame, so that
    a `VideoWriter` begins there, and `is_excerpt` makes it omit sound and subtitles outside the part. The
    start is exact to the frame: what precedes it is decoded and dropped, after a jump to a keyframe where the
    container has an index.

    Args:
        path: Any container and codec that FFmpeg reads.
        span: The part; `WHOLE` reads like `VideoReader`.
        codec_motion: See `VideoReader`.
        sdr: See `VideoReader`.
        deinterlace: See `VideoReader`.
        input_lut: A .cube file that is applied to each decoded frame.

    Raises:
        CubeError: `input_lut` is not a 3D LUT.
        VideoError: As raised by `VideoReader`, or no frame lies in the part.
    """

    def __init__(
        self,
        path: Path,
        span: Span = WHOLE,
        *,
        codec_motion: bool = False,
        sdr: bool = False,
        deinterlace: Deinterlace = "auto",
        input_lut: str | None = None,
    ) -> None:
        self._input_lut = InputLut(Path(input_lut)) if input_lut else None
        self._open = partial(
            super().__init__, path, codec_motion=codec_motion, sdr=sdr, deinterlace=deinterlace
        )
        self._open()
        self._span = span
        self._origin = self._time_of_first()
        if span.is_whole:
            return
        try:
            first = self._jumped_to_start() or self._read_to_start()
        except BaseException:
            self.close()
            raise
        self.info = self._described(first)
        self._part = self._until_end(first)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in presentation order; see `VideoReader.__iter__`."""
        return super().__iter__() if self._span.is_whole else self._part

    def _decode(self) -> Iterator[av.VideoFrame]:
        """Decode, and apply the input LUT before anything else sees a frame."""
        decoded = super()._decode()
        return decoded if self._input_lut is None else map(self._input_lut, decoded)

    def _read_to_start(self) -> Frame:
        """Return the first frame of the part, after reading everything before it."""
        self._rest = super().__iter__()
        first = next((frame for frame in self._rest if self._has_begun(frame)), None)
        if first is None:
            raise beyond_the_end(self.info, self._span.start or BEGINNING)
        if self._has_ended(first):
            raise VideoError(
                f"{self._path.name} has no frame from {self._span.start or BEGINNING} to {self._span.end}",
                "Choose a longer part",
            )
        return first

    def _jumped_to_start(self) -> Frame | None:
        """Return the first frame of the part, read after a jump.

        Returns:
            None, with the file open at its beginning, if a jump is of no use or leads elsewhere.
        """
        start = self._span.jump_to
        if start is None or start < WORTH_A_JUMP or self._container.format.name not in INDEXED:
            return None
        try:
            self._container.seek(round((self._origin + start - MARGIN) / AV_TIME_BASE))
            self._decoded = self._decoded_from_here()
            self._first = next(self._decoded, None)
            if self._first is not None and self._time_of_first() < self._origin + start:
                self._rest = super().__iter__()
                return next(frame for frame in self._rest if self._has_begun(frame))
        except (av.FFmpegError, StopIteration):
            pass  # the index is wrong
        self.close()
        self._open()
        return None

    def _time_of_first(self) -> Fraction:
        """Return the time of the first frame on the file's clock, in seconds."""
        return Fraction((self._first and self._first.pts) or 0) * self.info.time_base

    def _until_end(self, first: Frame) -> Iterator[Frame]:
        end = self._span.end.seconds if self._span.end else None
        for index, frame in enumerate(chain([first], self._rest)):
            if self._has_ended(frame):
                return
            duration = frame.duration
            if end is not None:
                duration = max(1, min(duration, round((end - self.seconds(frame)) / frame.time_base)))
            yield replace(frame, index=index, duration=duration)

    def _described(self, first: Frame) -> VideoInfo:
        """Return the properties of the part."""
        info, begin, end = self.info, self.seconds(first), self._span.end
        until = info.duration
        if end is not None:
            limit = end.in_seconds(info.rate)
            until = limit if until is None else min(until, limit)
        duration = None if until is None else max(until - begin, 1 / info.rate)
        return replace(
            info,
            start=first.pts * first.time_base,
            duration=duration,
            frame_count=None if duration is None else max(1, round(duration * info.rate)),
            is_excerpt=True,
        )

    def seconds(self, frame: Frame) -> Fraction:
        """Return the time of a frame in the whole video, from its first frame."""
        return frame.pts * frame.time_base - self._origin

    def _has_begun(self, frame: Frame) -> bool:
        return self._span.start is None or self._span.start.is_by(frame.index, self.seconds(frame))

    def _has_ended(self, frame: Frame) -> bool:
        return self._span.end is not None and self._span.end.is_by(frame.index, self.seconds(frame))
