"""Copy into the result what is not stylized: sound, subtitles, chapters, cover pictures, attachments."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.subtitles.stream import SubtitleStream

from device_runtime.media.clock import PacketClock, clocked_streams
from device_runtime.media.containers import container_named
from device_runtime.media.extras import add_extras, omitted
from device_runtime.media.input_file import open_input
from device_runtime.media.tracks import Track, UnsupportedError, open_track
from device_runtime.media.video_info import find_stream

MAX_INTERLEAVING: Final = 10  # seconds by which packets of different tracks may be out of order in a file
DAMAGED: Final = "a damaged part of the sound or subtitles was omitted"
REPAIRED: Final = "packets of sound or subtitles with repeated times were repaired or omitted"
KINDS: Final = {"audio": "sound", "subtitle": "subtitles"}


class SideStreams:
    """Copies every audio and subtitle stream of a file into an output container, unchanged where possible.

    Sound that the container does not support is re-encoded as AAC, and text subtitles as its own text format.
    Chapters, cover pictures, attachments and the streams' flags are copied where the container has a place
    for them. `warnings` names what could not be. The source is opened a second time, so that these streams
    are read at the pace of the picture and do not queue up in memory.

    Args:
        source: The file to copy from.
        output: The container; its header must not have been written yet.
        start: Time on the source's clock that is 0 in the output, in seconds.
        is_excerpt: Omit sound that starts before `start`, and shorten subtitles to what is left of them.
        end: Time on the source's clock at which chapters end, in seconds; None = all of them.

    Attributes:
        warnings: One line for each thing that could not be copied unchanged.
        picture_flags: Flags of the video stream, for the output's.
    """

    def __init__(
        self,
        source: Path,
        output: OutputContainer,
        start: Fraction,
        *,
        is_excerpt: bool = False,
        end: Fraction | None = None,
    ) -> None:
        self.warnings: list[str] = []
        self._source = source
        self._output = output
        self._start = start
        self._is_excerpt = is_excerpt
        self._container = container_named(output.format.name)
        self._input = open_input(source)
        try:
            self._clock = PacketClock(self._input)
            self._tracks: dict[int, Track] = {}
            self._last: dict[int, int] = {}
            for stream in (*self._input.streams.audio, *self._input.streams.subtitles):
                self._add(stream)
            self._covers, notes = add_extras(self._input, output, self._container, start, end)
            shown = find_stream(self._input, source)
            self.picture_flags = shown.disposition & self._container.flags
            for note in (*notes, *omitted(self._input, shown)):
                self._warn(note)
        except BaseException:
            self._input.close()
            raise
        self._packets = self._read()
        self._next = next(self._packets, None)

    def begin(self) -> None:
        """Write what precedes the streams; call once, after the output's header."""
        self._output.mux(self._covers)

    def copy_until(self, seconds: Fraction) -> None:
        """Copy the packets that start before a time.

        Args:
            seconds: Time on the output's clock.
        """
        while self._next is not None and _time(self._next) - self._start < seconds:
            self._copy(self._next)
            self._next = next(self._packets, None)

    def finish(self, end: Fraction | None = None) -> None:
        """Copy the rest and close the source.

        Args:
            end: Time on the output's clock from which on nothing is copied; None = copy everything.
        """
        while self._next is not None:
            late = Fraction(0) if end is None else _time(self._next) - self._start - end
            if late >= MAX_INTERLEAVING:
                break
            if end is None or late < 0:
                self._copy(self._next)
            self._next = next(self._packets, None)
        for track in self._tracks.values():
            self._mux(track.finish())
        self.close()

    def close(self) -> None:
        """Close the source without copying the rest."""
        self._input.close()

    def _add(self, stream: Stream) -> None:
        name = _name(stream)
        try:
            track = open_track(stream, self._output, self._container)
        except (UnsupportedError, av.FFmpegError, ValueError) as error:
            reason = str(error) if isinstance(error, UnsupportedError) else "its format is not supported"
            self._warn(f"{name} omitted: {reason}")
            return
        self._tracks[stream.index] = track
        if track.note:
            self._warn(f"{name} {track.note}")
        lost = stream.disposition & ~self._container.flags & ~Disposition.attached_pic
        if lost:
            flags = ", ".join(str(flag.name).replace("_", " ") for flag in lost)
            self._warn(f"{name} loses the mark {flags}, which {self._container.format} does not have")

    def _copy(self, packet: Packet[Any]) -> None:
        shift = round(self._start / packet.time_base)
        packet.dts = packet.dts - shift if packet.dts is not None else None
        packet.pts = packet.pts - shift if packet.pts is not None else packet.dts
        if self._is_excerpt and (packet.pts or 0) < 0 and not _began_earlier(packet):
            return
        try:
            converted = self._tracks[packet.stream.index].convert(packet)
        except (av.FFmpegError, ValueError):
            self._warn(DAMAGED)
            return
        self._mux(converted)

    def _mux(self, packets: Iterable[Packet[Any]]) -> None:
        """Write packets; one that the container refuses is omitted, any other error is the caller's."""
        for packet in packets:
            if not self._in_order(packet):
                continue
            try:
                self._output.mux(packet)
            except av.FFmpegError as error:
                if error.errno in errno.errorcode and error.errno != errno.EINVAL:  # a full disk, …
                    raise
                self._warn(DAMAGED)

    def _in_order(self, packet: Packet[Any]) -> bool:
        """Make a stream's decoding times increase; return False for a packet more than its length late."""
        index, dts = packet.stream.index, packet.dts or 0
        last = self._last.get(index)
        if last is not None and (dts < last or (dts == last and self._container.needs_increase)):
            self._warn(REPAIRED)
            length = packet.duration or 1
            if dts <= last - length:
                return False
            # Halfway to the next one, which may have the right time.
            packet.dts = last + max(1, length // 2)
            packet.pts = max(packet.pts or 0, packet.dts)
        self._last[index] = packet.dts or 0
        return True

    def _read(self) -> Iterator[Packet[Any]]:
        """Yield the packets of all tracks in file order; a truncated file just ends."""
        if not self._tracks:
            return
        try:
            demuxed = self._input.demux(clocked_streams(self._input))
            for packet in self._clock.repaired(each for each in demuxed if each.size):
                if packet.stream.index in self._tracks and packet.dts is not None:
                    yield packet
        except av.FFmpegError:
            self._warn(DAMAGED)

    def _warn(self, what: str) -> None:
        warning = f"{self._source.name}: {what}"
        if warning not in self.warnings:
            self.warnings.append(warning)


def _began_earlier(packet: Packet[Any]) -> bool:
    """Shorten a subtitle that is still shown at the start; return whether there is one."""
    pts = packet.pts or 0
    if not isinstance(packet.stream, SubtitleStream) or pts + (packet.duration or 0) <= 0:
        return False
    packet.duration, packet.pts, packet.dts = pts + (packet.duration or 0), 0, 0
    return True


def _name(stream: Stream) -> str:
    """Name a stream as a user would: ``sound 2 (opus, deu)``."""
    siblings = [each for each in stream.container.streams if each.type == stream.type]
    number = [each.index for each in siblings].index(stream.index) + 1
    codec = stream.codec_context.codec.canonical_name if stream.codec_context else "unknown format"
    language = stream.metadata.get("language", "und")
    details = codec if language == "und" else f"{codec}, {language}"
    return f"{KINDS[stream.type]} {number} ({details})"


def _time(packet: Packet[Any]) -> Fraction:
    return Fraction(packet.dts or 0) * packet.time_base
