"""Read a video: upright frames in presentation order, one at a time, with their display times.

Usage:
    with VideoReader(Path("street.mp4")) as reader:
        for frame in reader:
            print(frame.index, frame.rgb.shape)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast

import av
import numpy as np
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from device_runtime.media.clock import PacketClock, clocked_streams
from device_runtime.media.color import Color, ColorConverter
from device_runtime.media.deinterlace import Deinterlace, Deinterlacer, field_order
from device_runtime.media.frame_check import FrameCheck
from device_runtime.media.light_level import LightLevel
from device_runtime.media.motion_vectors import CodecMotion
from device_runtime.media.planes import Picture, in_rgb, planes_of
from device_runtime.media.video_info import (
    NO_PICTURE_HINT,
    VideoError,
    base_layer_warning,
    describe_video,
    find_stream,
    open_video,
)

MIN_READABLE: Final = Fraction(97, 100)  # of the declared duration; a file that yields less is truncated


@dataclass(frozen=True)
class Frame:
    """One frame of a video.

    Attributes:
        index: Index in presentation order, from 0.
        picture: Upright; planes of Y'CbCr, or uint8 RGB (H, W, 3) if the codec gives that.
        pts: When it is shown, in units of `time_base`; strictly increasing.
        time_base: Seconds per unit.
        duration: How long it is shown, in units of `time_base`; above 0.
        codec_key: Whether it is intra-coded.
        codec_motion: Backward motion to the previous frame, from `CodecMotion`; None if the codec has none or
            the reader was opened without it.
    """

    index: int
    picture: Picture
    pts: int
    time_base: Fraction
    duration: int
    codec_key: bool
    codec_motion: NDArray[np.float32] | None = None

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """The picture in RGB, uint8 (H, W, 3), 0..255; a conversion is kept with it."""
        return in_rgb(self.picture)


class VideoReader:
    """Reads a video frame by frame; memory does not grow with its length.

    Use as a context manager and iterate once. Damaged parts are skipped; `warnings` reports what was lost.

    Args:
        path: Any container and codec that FFmpeg reads.
        codec_motion: Provide `Frame.codec_motion`.
        sdr: Read HDR as its SDR view: BT.709 with 8 bits.
        deinterlace: ``auto`` makes interlaced frames progressive; ``off`` keeps their fields and order.

    Attributes:
        info: Properties of the video.
        is_tone_mapped: Whether it is HDR, read as its SDR view.
        warnings: One line for each thing the user should know; complete after the last frame.

    Raises:
        VideoError: The file is missing, is not a video, or has no frame that can be decoded.
    """

    def __init__(
        self,
        path: Path,
        *,
        codec_motion: bool = False,
        sdr: bool = False,
        deinterlace: Deinterlace = "auto",
    ) -> None:
        self.warnings: list[str] = []
        self._path = path
        self._is_truncated = False
        self._container = open_video(path)
        try:
            self._stream = find_stream(self._container, path)
            self._deinterlaces = deinterlace == "auto"
            self._codec_motion = CodecMotion(self._stream) if codec_motion else None
            self._decoded = self._decoded_from_here()
            self._first = next(self._decoded, None)
            if self._first is None:
                raise VideoError(f"{path} has no frames that can be decoded", NO_PICTURE_HINT)
            self.info = describe_video(path, self._container, self._stream, self._first)
            self._color = self.info.color
            self.info = replace(self.info, field_order=self._field_order(self._first))
            self._check = FrameCheck(path.name, self._stream, self.info.color, self._first)
            self.is_tone_mapped = sdr and self._color.is_hdr
            if self.is_tone_mapped:
                self.info = replace(self.info, color=self._color.as_sdr, bits=8, light=LightLevel())
            self.warnings += base_layer_warning(path.name, self._first)
            bits = self._first.format.components[0].bits
            if bits > 10:
                self.warnings.append(f"{path.name} has {bits} bits per channel, the result has 10")
        except BaseException:
            self._container.close()
            raise
        self._colors = {self.info.color: ColorConverter(self.info.color)}

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
        """Yield the frames in presentation order.

        Times that are missing or do not increase are replaced, with a warning.
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
        if clock.replaced:
            self.warnings.append(f"{self._path.name}: {clock.replaced} missing frame times were replaced")
        self.warnings += self._check.warnings
        if self._deinterlacer and self._deinterlacer.is_used:
            self.warnings.append(f"{self._path.name} is interlaced: its frames were deinterlaced")

    def _decoded_from_here(self) -> Iterator[av.VideoFrame]:
        """Decode from where the file stands, with a clock and a deinterlacer that know nothing before it."""
        self._packet_clock = PacketClock(self._container)
        self._deinterlacer = Deinterlacer() if self._deinterlaces else None
        decoded = self._decode()
        return self._deinterlacer(decoded) if self._deinterlacer else decoded

    def _frame(self, index: int, picture: av.VideoFrame, pts: int, duration: int) -> Frame:
        orientation = self.info.orientation
        return Frame(
            index=index,
            picture=self._upright(picture),
            pts=pts,
            time_base=self.info.time_base,
            duration=duration,
            codec_key=picture.key_frame,
            codec_motion=self._codec_motion(picture, index, orientation) if self._codec_motion else None,
        )

    def _upright(self, picture: av.VideoFrame) -> Picture:
        orientation, width, height = self.info.orientation, self.info.width, self.info.height
        stored = (height, width) if orientation.transposed else (width, height)
        color = self._check(picture)
        if not any(component.is_alpha for component in picture.format.components):
            planes = planes_of(picture, self._color, orientation, stored)
            if planes is not None:
                return planes.sdr() if self.is_tone_mapped else planes
        rgb = self._converter(color).to_rgb(picture, *stored)
        return orientation.apply(self._check.on_black(rgb, picture))

    def _converter(self, color: Color) -> ColorConverter:
        """Return the converter of a frame, whose color tags may differ from those of the first one."""
        if color not in self._colors:
            self._colors[color] = ColorConverter(color)
        return self._colors[color]

    def _field_order(self, first: av.VideoFrame) -> str:
        return field_order(first, self._stream.codec_context.field_order)

    def _end(self, pts: int, last: av.VideoFrame) -> int:
        """Return when the last frame ends; its own duration in an MP4 refers to decoding order."""
        declared = (self._stream.start_time or 0) + (self._stream.duration or 0)
        if declared > pts and not self._is_truncated and not self._packet_clock.joins:
            return declared
        return pts + (last.duration or round(1 / (self.info.rate * self.info.time_base)) or 1)

    def _decode(self) -> Iterator[av.VideoFrame]:
        """Decode to the end, skipping damaged packets, and record in `warnings` what was lost."""
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
            self.warnings.append(f"{self._path.name}: {damaged} damaged packets were skipped")
        if self._packet_clock.joins:
            joins = f"{self._packet_clock.joins} jumps of its clock"
            self.warnings.append(f"{self._path.name}: {joins} were made continuous time")
            return
        if self._packet_clock.replaced:
            self.warnings.append(
                f"{self._path.name}: {self._packet_clock.replaced} wrong times were replaced"
            )
        self._check_length(shown - (self._stream.start_time or 0))

    def _check_length(self, shown: int) -> None:
        """Record in `warnings` if less was decoded than the file declares."""
        declared = self._stream.duration or 0
        self._is_truncated = shown < declared * MIN_READABLE
        if self._is_truncated and self._stream.time_base:
            times = [f"{float(units * self._stream.time_base):.2f} s" for units in (shown, declared)]
            self.warnings.append(f"{self._path.name} is truncated: {times[0]} of {times[1]} can be read")

    def _packets(self) -> Iterator[Packet[VideoStream] | None]:
        """Yield the packets of the video stream, then None, which flushes the decoder.

        A file that breaks off within a packet ends here without an error; `_decode` notices the missing time.
        """
        with suppress(av.FFmpegError):
            demuxed = self._container.demux(clocked_streams(self._container))
            for packet in self._packet_clock.repaired(each for each in demuxed if each.size):
                if packet.stream.index == self._stream.index:
                    yield cast("Packet[VideoStream]", packet)
        yield None


class _Clock:
    """Assigns strictly increasing times, even if the file's are missing or step back."""

    def __init__(self, time_base: Fraction, rate: Fraction) -> None:
        self._step = max(1, round(1 / (rate * time_base)))
        self._last: int | None = None
        self.replaced = 0

    def time_of(self, frame: av.VideoFrame) -> int:
        """Return the frame's time in units of the time base; `replaced` counts the invalid ones."""
        earliest = 0 if self._last is None else self._last + 1
        pts = frame.pts
        if pts is None:
            pts = 0 if self._last is None else self._last + self._step
            self.replaced += 1
        elif self._last is not None and pts < earliest:
            pts = earliest
            self.replaced += 1
        self._last = pts
        return pts
