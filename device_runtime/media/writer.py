"""Write a video: H.264 or HEVC, with the source's times, colors, sound and subtitles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from device_runtime.media.atomic_file import check_output, pending_file, write_hint
from device_runtime.media.containers import CONTAINERS, container_of
from device_runtime.media.encoder import PictureEncoder, encoder_for
from device_runtime.media.encoding import DEFAULT_ENCODING, Encoding
from device_runtime.media.passthrough import SideStreams
from device_runtime.media.planes import Picture
from device_runtime.media.video_info import VideoError, VideoInfo


class VideoWriter:
    """Encodes frames and copies the source's sound and subtitles.

    Use as a context manager. The file has a temporary name next to the target until the block succeeds; any
    exception (including KeyboardInterrupt) removes it and leaves the target unchanged.

    Args:
        target: The video file: .mp4, .m4v, .mov or .mkv.
        like: The source, whose size, rate, times, color tags, sound and subtitles are copied.
        encoding: Encoder, speed and quality.

    Raises:
        VideoError: The suffix is unknown or the file cannot be written.
        OutputError: The target's folder is missing or read-only, or the target is the source itself.
        EncoderError: There is no such encoder; when entered: it cannot be opened.
    """

    def __init__(self, target: Path, like: VideoInfo, *, encoding: Encoding = DEFAULT_ENCODING) -> None:
        if target.suffix.lower() not in CONTAINERS:
            raise VideoError(f"{target.name} does not have a video suffix", f"Use {', '.join(CONTAINERS)}")
        self._target = check_output(target, like.path)
        self._like = like
        self._encoding = encoding
        self._cleanup = ExitStack()
        self._container: OutputContainer
        self._stream: VideoStream
        self._encoder: PictureEncoder
        self._side_streams: SideStreams | None = None
        self._held: Packet[VideoStream] | None = None
        self._span = _Span()

    @property
    def warnings(self) -> list[str]:
        """What could not be kept: bits, sound and subtitles."""
        bits = encoder_for(self._like, self._encoding).bits
        lost = [f"{self._like.path.name} has {self._like.bits} bits per channel, the result has {bits}"]
        return (lost if bits < self._like.bits else []) + (
            self._side_streams.warnings if self._side_streams else []
        )

    def __enter__(self) -> Self:
        with ExitStack() as opened, _writing(self._target):
            pending = opened.enter_context(pending_file(self._target))
            self._container = self._open(pending)
            opened.callback(_abandon, self._container)
            name = encoder_for(self._like, self._encoding).name
            self._stream = cast("VideoStream", self._container.add_stream(name, rate=self._like.rate))
            self._encoder = PictureEncoder(
                self._like, encoding=self._encoding, codec=self._stream.codec_context
            )
            self._stream.metadata.update(self._like.picture_metadata)
            self._side_streams = SideStreams(
                self._like.path,
                self._container,
                self._like.start,
                is_excerpt=self._like.is_excerpt,
                end=self._end_of_part(),
            )
            opened.callback(self._side_streams.close)
            self._stream.disposition = self._side_streams.picture_flags
            self._container.start_encoding()
            self._side_streams.begin()
            self._cleanup = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._cleanup.__exit__(kind, error, trace)
            return
        with self._cleanup, _writing(self._target):
            self._mux(self._encoder.finish())
            self._mux_last()
            if self._side_streams:
                self._side_streams.finish(self._end() if self._like.is_excerpt else None)
            self._container.close()

    def write(self, picture: Picture, pts: int, duration: int = 0) -> None:
        """Append one frame.

        Args:
            picture: uint8 RGB (H, W, 3), or planes, of the source's size.
            pts: When it is shown, in units of the source's time base; increasing.
            duration: How long, in the same units; 0 = until the next frame (the last one: 1 / rate).

        Raises:
            VideoError: The file cannot be written, for example because the disk is full.
        """
        with _writing(self._target):
            self._mux(self._encoder.encode(picture, pts, duration))

    def append(self, packet: Packet[VideoStream]) -> None:
        """Append a packet of a `PictureEncoder` with the same options, instead of writing frames.

        Args:
            packet: The packet, with all times set; in decoding order.

        Raises:
            VideoError: See `write`.
        """
        with _writing(self._target):
            self._mux([packet])

    def _open(self, pending: Path) -> OutputContainer:
        kind = container_of(self._target.suffix)
        options = {}
        if kind.format != "matroska":  # which always counts in milliseconds
            named = "+use_metadata_tags" if kind.needs_named_tags(self._like.metadata) else ""
            options = {
                "movflags": f"+faststart{named}",
                "video_track_timescale": str(self._like.time_base.denominator),
            }
        container = av.open(str(pending), "w", format=kind.format, container_options=options)
        container.metadata.update(self._like.metadata)
        return container

    def _mux(self, packets: Iterable[Packet[VideoStream]]) -> None:
        for packet in packets:
            self._span.add(packet)
            ready, self._held = self._held, packet
            if ready is not None:
                self._mux_one(ready)

    def _mux_one(self, packet: Packet[VideoStream]) -> None:
        if self._side_streams:
            self._side_streams.copy_until(Fraction(packet.dts or 0) * packet.time_base)
        packet.stream = self._stream
        self._container.mux(packet)

    def _end_of_part(self) -> Fraction | None:
        """Return when a part of a file ends on the file's clock, in seconds, as far as it is known."""
        if not self._like.is_excerpt or self._like.duration is None:
            return None
        return self._like.start + self._like.duration

    def _end(self) -> Fraction:
        """Return when the last picture ends, in seconds."""
        return self._span.shown_until * self._like.time_base

    def _mux_last(self) -> None:
        last, self._held = self._held, None
        if last is not None:
            if CONTAINERS[self._target.suffix.lower()] != "matroska":
                last.duration = self._span.rest(last)
            self._mux_one(last)


@dataclass
class _Span:
    """Time covered by the packets of a video, for display and decoding, in units of its time base.

    The length of an MP4 follows from its decoding times, and the packet decoded last may not be the one shown
    last: its duration has to be extended by the missing time.
    """

    shown_from: int | None = None
    shown_until: int = 0
    decoded_from: int = 0

    def add(self, packet: Packet[VideoStream]) -> None:
        pts = packet.pts or 0
        if self.shown_from is None:
            self.decoded_from = packet.dts or 0
        self.shown_from = pts if self.shown_from is None else min(self.shown_from, pts)
        self.shown_until = max(self.shown_until, pts + (packet.duration or 0))

    def rest(self, last: Packet[VideoStream]) -> int:
        """Return the duration of the packet decoded last with which the file ends when its picture does."""
        return max(1, self.shown_until - (self.shown_from or 0) - (last.dts or 0) + self.decoded_from)


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Turn errors of FFmpeg and the operating system into a VideoError."""
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{target} cannot be written ({error.strerror})", write_hint(error)) from error


def _abandon(container: OutputContainer) -> None:
    """Close a container whose file is discarded (harmless after a proper close)."""
    with suppress(av.FFmpegError, OSError):
        container.close()
