"""Video in: upright RGB frames in presentation order, one at a time, with the times they are shown at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast

import av
import numpy as np
from av.buffer import Buffer
from av.container import InputContainer
from av.format import Flags
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream
from numpy.typing import NDArray

from device_runtime.media.color import Colour, ColourConverter
from device_runtime.media.motion_vectors import CodecMotion
from device_runtime.media.orientation import Orientation
from mvstylizer.errors import MVStylizerError

AV_TIME_BASE: Final = Fraction(1, 1_000_000)  # FFmpeg's unit for the times of a whole file
ABOUT_THE_FILE: Final = {"major_brand", "minor_version", "compatible_brands", "encoder"}
ABOUT_THE_PICTURE: Final = {"title", "language"}
CUT_SHORT: Final = Fraction(97, 100)  # a file that yields less of its duration than this is reported


class VideoError(MVStylizerError):
    """A file that cannot be read as a video, or written as one."""


@dataclass(frozen=True)
class Frame:
    """One frame of a video.

    Attributes:
        index: Its place in presentation order, from 0.
        rgb: uint8 RGB (H, W, 3), upright, 0..255.
        pts: When it is shown, in units of `time_base`; strictly rising from frame to frame.
        time_base: Seconds per unit.
        duration: How long it is shown, in units of `time_base`; above 0.
        codec_key: The codec coded it without reference to other frames.
        codec_motion: Backward motion to the frame before, as `CodecMotion` gives it; None where the codec has
            none, or the reader was not asked for it.
    """

    index: int
    rgb: NDArray[np.uint8]
    pts: int
    time_base: Fraction
    duration: int
    codec_key: bool
    codec_motion: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class VideoInfo:
    """What a video is, as a viewer sees it.

    Attributes:
        path: The file.
        width: Pixels, after rotation.
        height: Pixels, after rotation.
        rate: Average frames per second.
        time_base: Seconds per unit of the frames' times.
        start: Seconds on the file's clock that count as 0: not 0 only for broadcast formats (MPEG-TS and the
            like), whose clock runs on from before the file.
        duration: Seconds, or None when the file does not say.
        frame_count: An estimate, for progress; None when nothing can be said.
        orientation: How stored pixels became upright.
        pixel_aspect: Width of a pixel over its height, after rotation.
        colour: Colour tags.
        has_audio: There is at least one audio stream.
        has_subtitles: There is at least one subtitle stream.
        picture_metadata: Title and language of the picture's stream.
        metadata: Title, creation time and the like.
    """

    path: Path
    width: int
    height: int
    rate: Fraction
    time_base: Fraction
    start: Fraction
    duration: Fraction | None
    frame_count: int | None
    orientation: Orientation
    pixel_aspect: Fraction
    colour: Colour
    has_audio: bool
    has_subtitles: bool
    picture_metadata: Mapping[str, str]
    metadata: Mapping[str, str]

    @property
    def rotation(self) -> int:
        """Degrees clockwise by which stored pixels were turned."""
        return self.orientation.rotation


class VideoReader:
    """Reads a video frame by frame; memory does not grow with its length.

    Use as a context manager and iterate once. Damaged places are passed over; `warnings` says what was lost.

    Args:
        path: Any container and codec that FFmpeg reads.
        codec_motion: Give each frame's `Frame.codec_motion`.

    Raises:
        VideoError: The file is missing, is no video, or holds no frame that can be decoded.
    """

    def __init__(self, path: Path, *, codec_motion: bool = False) -> None:
        self.warnings: list[str] = []
        self._path = path
        self._cut_short = False
        self._container = _open(path)
        try:
            self._stream = _video_stream(self._container, path)
            self._codec_motion = CodecMotion(self._stream) if codec_motion else None
            self._decoded = self._decode()
            self._first = next(self._decoded, None)
            if self._first is None:
                raise VideoError(f"{path} has no frames that can be decoded", "Give a video with a picture")
            self.info = _describe(path, self._container, self._stream, self._first)
            bits = self._first.format.components[0].bits
            if bits > 8:
                self.warnings.append(f"{path.name} has {bits} bits a colour, the result has 8")
        except BaseException:
            self._container.close()
            raise
        self._colours = ColourConverter(self.info.colour)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        """Give the frames in presentation order.

        Yields:
            Each frame once; times that are missing or do not rise are mended, and `warnings` says so.
        """
        clock = _Clock(self.info.time_base, self.info.rate)
        shown, self._first = self._first, None
        pts = clock.time_of(shown) if shown else 0
        index = 0
        while shown is not None:
            following = next(self._decoded, None)
            until = clock.time_of(following) if following else self._end(pts, shown)
            yield self._frame(index, shown, pts, until - pts)
            index, shown, pts = index + 1, following, until
        if clock.mended:
            self.warnings.append(f"{self._path.name}: {clock.mended} missing frame times were made up")

    def _frame(self, index: int, picture: av.VideoFrame, pts: int, duration: int) -> Frame:
        turned = self.info.orientation.transposed
        width, height = self.info.width, self.info.height
        rgb = self._colours.to_rgb(picture, *((height, width) if turned else (width, height)))
        return Frame(
            index=index,
            rgb=self.info.orientation.apply(rgb),
            pts=pts,
            time_base=self.info.time_base,
            duration=duration,
            codec_key=picture.key_frame,
            codec_motion=(
                self._codec_motion(picture, index, self.info.orientation) if self._codec_motion else None
            ),
        )

    def _end(self, pts: int, last: av.VideoFrame) -> int:
        """When the last frame ceases to be shown; its own duration in an MP4 is one of decoding order."""
        announced = (self._stream.start_time or 0) + (self._stream.duration or 0)
        if announced > pts and not self._cut_short:
            return announced
        return pts + (last.duration or round(1 / (self.info.rate * self.info.time_base)) or 1)

    def _decode(self) -> Iterator[av.VideoFrame]:
        """Decode to the end, past damaged packets, and say in `warnings` what was lost."""
        damaged = 0
        shown = 0
        for packet in self._packets():
            try:
                frames = packet.decode() if packet else self._stream.decode(None)
            except av.FFmpegError:
                damaged += 1
                continue
            for frame in frames:
                shown = max(shown, (frame.pts or 0) + (frame.duration or 0))
                yield frame
        if damaged:
            self.warnings.append(f"{self._path.name}: {damaged} damaged packets were passed over")
        announced = self._stream.duration or 0
        shown -= self._stream.start_time or 0
        self._cut_short = shown < announced * CUT_SHORT
        if self._cut_short and self._stream.time_base:
            times = [f"{float(units * self._stream.time_base):.2f} s" for units in (shown, announced)]
            self.warnings.append(f"{self._path.name} is cut short: {times[0]} of {times[1]} can be read")

    def _packets(self) -> Iterator[Packet[VideoStream] | None]:
        """Give the packets of the video stream, then None, which makes the decoder hand over what it holds.

        A file that breaks off within a packet ends here without an error: `_decode` sees the missing time.
        """
        with suppress(av.FFmpegError):
            yield from (packet for packet in self._container.demux(self._stream) if packet.size)
        yield None


class _Clock:
    """Gives every frame a time that rises, also where the file has none or one that steps back."""

    def __init__(self, time_base: Fraction, rate: Fraction) -> None:
        self._step = max(1, round(1 / (rate * time_base)))
        self._last: int | None = None
        self.mended = 0

    def time_of(self, frame: av.VideoFrame) -> int:
        """Return the frame's time in units of the time base; `mended` counts those that had to be made up."""
        earliest = 0 if self._last is None else self._last + 1
        pts = frame.pts
        if pts is None:
            pts = 0 if self._last is None else self._last + self._step
            self.mended += 1
        elif self._last is not None and pts < earliest:
            pts = earliest
            self.mended += 1
        self._last = pts
        return pts


def _open(path: Path) -> InputContainer:
    if not path.exists():
        raise VideoError(f"There is no file {path}", "Check the path")
    try:
        return av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        raise VideoError(
            f"{path} cannot be read as a video ({error.strerror})", "Give a video file, such as an MP4"
        ) from error


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    """Take the first stream of moving pictures; the cover picture of a music file is none."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic and stream.codec_context is not None:
            return stream
    raise VideoError(f"{path} has no video stream that can be decoded", "Give a video with a picture")


def _describe(path: Path, container: InputContainer, stream: VideoStream, first: av.VideoFrame) -> VideoInfo:
    matrix = cast("Buffer | None", first.side_data.get("DISPLAYMATRIX"))
    orientation = Orientation.from_display_matrix(memoryview(matrix)) if matrix else Orientation()
    width, height = first.width, first.height
    aspect = stream.sample_aspect_ratio or Fraction(1)
    if orientation.transposed:
        width, height, aspect = height, width, 1 / aspect
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    duration = _seconds(stream.duration, stream.time_base) or _seconds(container.duration, AV_TIME_BASE)
    has_own_clock = Flags(container.format.flags) & Flags.ts_discont
    return VideoInfo(
        path=path,
        width=width,
        height=height,
        rate=rate,
        time_base=stream.time_base or 1 / rate,
        start=(_seconds(container.start_time, AV_TIME_BASE) or Fraction(0)) if has_own_clock else Fraction(0),
        duration=duration,
        frame_count=round(duration * rate) if duration else stream.frames or None,
        orientation=orientation,
        pixel_aspect=aspect,
        colour=Colour.of(first),
        has_audio=bool(container.streams.audio),
        has_subtitles=bool(container.streams.subtitles),
        picture_metadata={k: text for k, text in stream.metadata.items() if k in ABOUT_THE_PICTURE},
        metadata={key: text for key, text in container.metadata.items() if key not in ABOUT_THE_FILE},
    )


def _seconds(units: int | None, unit: Fraction | None) -> Fraction | None:
    return None if units is None or unit is None else units * unit
