"""Copy sound and subtitles of the source into the result, packet by packet."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Protocol, cast

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.subtitles.codeccontext import SubtitleCodecContext
from av.subtitles.stream import SubtitleStream

# FFmpeg would also write Vorbis and PCM into an MP4, which most players cannot play.
MP4_SOUND: Final = {"aac", "ac3", "alac", "eac3", "flac", "mp3", "opus"}
AAC_RATES: Final = {96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350}
AAC_LAYOUTS: Final = {1: "mono", 6: "5.1", 8: "7.1"}
TEXT: Final = {"ass", "mov_text", "subrip", "text", "webvtt"}
NO_TEXT: Final = bytes(2)  # MP4's empty packet between two subtitles
MAX_INTERLEAVING: Final = 10  # seconds by which packets of different tracks may be out of order in a file
DAMAGED: Final = "a damaged part of the sound or subtitles was omitted"


class SideStreams:
    """Copies every audio and subtitle stream of a file into an output container, unchanged where possible.

    Sound that the container does not support is re-encoded as AAC, and text subtitles as its own text format.
    Bitmap subtitles are omitted from MP4, which does not support them. The source is opened a second time, so
    that these streams are read at the pace of the picture and do not queue up in memory.

    Args:
        source: The file to copy from.
        output: The container; its header must not have been written yet.
        start: Time on the source's clock that is 0 in the output, in seconds.
        is_excerpt: Omit sound that starts before `start`, and shorten subtitles to what is left of them.
    """

    def __init__(
        self, source: Path, output: OutputContainer, start: Fraction, *, is_excerpt: bool = False
    ) -> None:
        self.warnings: list[str] = []
        self._source = source
        self._output = output
        self._start = start
        self._is_excerpt = is_excerpt
        self._input = av.open(str(source))
        try:
            self._tracks: dict[int, _Track] = {}
            for stream in (*self._input.streams.audio, *self._input.streams.subtitles):
                if stream.codec_context is not None:
                    self._add(stream)
            self._streams = tuple(self._input.streams[index] for index in self._tracks)
        except BaseException:
            self._input.close()
            raise
        self._packets = self._read()
        self._next = next(self._packets, None)

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
            self._output.mux(track.finish())
        self.close()

    def close(self) -> None:
        """Close the source without copying the rest."""
        self._input.close()

    def _add(self, stream: Any) -> None:
        track = _audio_track if isinstance(stream, AudioStream) else _subtitle_track
        try:
            self._tracks[stream.index] = track(stream, self._output)
        except (_UnsupportedError, av.FFmpegError):
            kind = "sound" if isinstance(stream, AudioStream) else "subtitles"
            name = stream.codec_context.codec.canonical_name
            self._warn(f"{kind} ({name}) omitted: {self._output.format.name} does not support this format")

    def _copy(self, packet: Packet[Any]) -> None:
        shift = round(self._start / packet.time_base)
        packet.dts = packet.dts - shift if packet.dts is not None else None
        packet.pts = packet.pts - shift if packet.pts is not None else packet.dts
        if self._is_excerpt and (packet.pts or 0) < 0 and not _began_earlier(packet):
            return
        try:
            converted = self._tracks[packet.stream.index].convert(packet)
        except av.FFmpegError:
            self._warn(DAMAGED)
            return
        self._output.mux(converted)

    def _read(self) -> Iterator[Packet[Any]]:
        """Yield the packets of all tracks in file order; a truncated file just ends."""
        if not self._streams:
            return
        try:
            for packet in self._input.demux(self._streams):
                if packet.dts is not None:
                    yield packet
        except av.FFmpegError:
            self._warn(DAMAGED)

    def _warn(self, what: str) -> None:
        warning = f"{self._source.name}: {what}"
        if warning not in self.warnings:
            self.warnings.append(warning)


class _UnsupportedError(Exception):
    """The container does not support a stream."""


class _Track(Protocol):
    """Converts packets of the source to packets of the result."""

    def convert(self, packet: Packet[Any]) -> list[Packet[Any]]: ...

    def finish(self) -> list[Packet[Any]]: ...


class _CopiedTrack:
    """Passes packets through, except for the gaps between MP4 subtitles, which the muxer writes itself."""

    def __init__(self, source: Stream, output: OutputContainer) -> None:
        self._stream = output.add_stream_from_template(source)
        self._stream.metadata.update(source.metadata)

    def convert(self, packet: Packet[Any]) -> list[Packet[Any]]:
        if _is_gap(packet):
            return []
        packet.stream = self._stream
        return [packet]

    def finish(self) -> list[Packet[Any]]:
        return []


class _EncodedSound:
    """Re-encodes sound as AAC, at the same rate and channel layout if AAC supports them."""

    def __init__(self, source: AudioStream, output: OutputContainer) -> None:
        rate = source.rate if source.rate in AAC_RATES else 48000
        layout = AAC_LAYOUTS.get(source.channels, "stereo")
        self._stream = output.add_stream("aac", rate=rate, layout=layout)
        self._stream.metadata.update(source.metadata)

    def convert(self, packet: Packet[AudioStream]) -> list[Packet[Any]]:
        return [encoded for frame in packet.decode() for encoded in self._stream.encode(frame)]

    def finish(self) -> list[Packet[Any]]:
        return self._stream.encode(None)


class _EncodedSubtitles:
    """Re-encodes text subtitles in another text format, including italics."""

    def __init__(self, source: SubtitleStream, output: OutputContainer, codec: str) -> None:
        self._decoder = source.codec_context
        self._decoder.open(strict=False)  # opening reads the header, which describes the styles
        self._stream = output.add_stream(codec)
        self._stream.metadata.update(source.metadata)
        self._encoder = cast("SubtitleCodecContext", self._stream.codec_context)
        self._encoder.subtitle_header = self._decoder.subtitle_header
        self._encoder.time_base = cast("Fraction", source.time_base)

    def convert(self, packet: Packet[Any]) -> list[Packet[Any]]:
        subtitles = None if _is_gap(packet) else self._decoder.decode2(packet)
        if subtitles is None:
            return []
        encoded = self._encoder.encode_subtitle(subtitles)
        encoded.pts, encoded.dts, encoded.duration = packet.pts, packet.dts, packet.duration
        encoded.time_base, encoded.stream = packet.time_base, self._stream
        return [encoded]

    def finish(self) -> list[Packet[Any]]:
        return []


def _audio_track(source: AudioStream, output: OutputContainer) -> _Track:
    codec = source.codec_context.codec
    if output.format.name == "mp4":
        supported = codec.canonical_name in MP4_SOUND
    else:
        supported = codec.name in output.supported_codecs
    return (_CopiedTrack if supported else _EncodedSound)(source, output)


def _subtitle_track(source: SubtitleStream, output: OutputContainer) -> _Track:
    codec = source.codec_context.codec
    native = "subrip" if output.format.name == "matroska" else "mov_text"
    if native == "subrip" and codec.name in output.supported_codecs:
        return _CopiedTrack(source, output)
    if codec.canonical_name == native:
        return _CopiedTrack(source, output)
    if codec.canonical_name not in TEXT:
        raise _UnsupportedError
    return _EncodedSubtitles(source, output, native)


def _began_earlier(packet: Packet[Any]) -> bool:
    """Shorten a subtitle that is still shown at the start; return whether there is one."""
    pts = packet.pts or 0
    if not isinstance(packet.stream, SubtitleStream) or pts + (packet.duration or 0) <= 0:
        return False
    packet.duration, packet.pts, packet.dts = pts + (packet.duration or 0), 0, 0
    return True


def _is_gap(packet: Packet[Any]) -> bool:
    return isinstance(packet.stream, SubtitleStream) and bytes(packet) == NO_TEXT


def _time(packet: Packet[Any]) -> Fraction:
    return Fraction(packet.dts or 0) * packet.time_base
