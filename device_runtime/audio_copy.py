"""The sound of the source, carried over packet by packet beside the new picture."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

# FFmpeg would also write Vorbis and PCM into an MP4, which most players do not open.
MP4_SOUND: Final = {"aac", "ac3", "alac", "eac3", "flac", "mp3", "opus"}
AAC_RATES: Final = {96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350}
AAC_LAYOUTS: Final = {1: "mono", 6: "5.1", 8: "7.1"}


class AudioCopy:
    """Copies every audio stream of a file into an output container, without re-encoding where it can.

    A codec that the container cannot hold is re-encoded to AAC. The source is opened a second time, so that
    sound is read at the pace of the picture and never queues up in memory.

    Args:
        source: The file to take the sound from.
        output: The container; its header must not have been written yet.
        start: Seconds on the source's clock that count as 0 in the output.
    """

    def __init__(self, source: Path, output: OutputContainer, start: Fraction) -> None:
        self.warnings: list[str] = []
        self._source = source
        self._output = output
        self._start = start
        self._input = av.open(str(source))
        try:
            self._streams = tuple(s for s in self._input.streams.audio if s.codec_context is not None)
            self._tracks = {s.index: _track(s, output) for s in self._streams}
        except BaseException:
            self._input.close()
            raise
        self._packets = self._read()
        self._next = next(self._packets, None)

    def copy_until(self, seconds: Fraction) -> None:
        """Copy the packets that start before a time.

        Args:
            seconds: On the output's clock.
        """
        while self._next is not None and _time(self._next) - self._start < seconds:
            self._copy(self._next)
            self._next = next(self._packets, None)

    def finish(self) -> None:
        """Copy what is left and close the source."""
        while self._next is not None:
            self._copy(self._next)
            self._next = next(self._packets, None)
        for track in self._tracks.values():
            self._output.mux(track.finish())
        self.close()

    def close(self) -> None:
        """Close the source; the rest of its sound is left out."""
        self._input.close()

    def _copy(self, packet: Packet[AudioStream]) -> None:
        shift = round(self._start / packet.time_base)
        packet.dts = packet.dts - shift if packet.dts is not None else None
        packet.pts = packet.pts - shift if packet.pts is not None else packet.dts
        try:
            converted = self._tracks[packet.stream.index].convert(packet)
        except av.InvalidDataError:
            self._warn()
            return
        self._output.mux(converted)

    def _read(self) -> Iterator[Packet[AudioStream]]:
        """Give the packets of all tracks as they lie in the file; a file that breaks off just ends."""
        if not self._streams:
            return
        try:
            for packet in self._input.demux(self._streams):
                if packet.dts is not None:
                    yield packet
        except av.FFmpegError:
            self._warn()

    def _warn(self) -> None:
        warning = f"{self._source.name}: a part of the sound is damaged and was left out"
        if warning not in self.warnings:
            self.warnings.append(warning)


class _CopiedTrack:
    """Hands packets on as they are."""

    def __init__(self, source: AudioStream, output: OutputContainer) -> None:
        self._stream = output.add_stream_from_template(source)
        self._stream.metadata.update(source.metadata)

    def convert(self, packet: Packet[AudioStream]) -> list[Packet[AudioStream]]:
        packet.stream = self._stream
        return [packet]

    def finish(self) -> list[Packet[AudioStream]]:
        return []


class _EncodedTrack:
    """Decodes packets and encodes them as AAC, at the same rate and channels if AAC has them."""

    def __init__(self, source: AudioStream, output: OutputContainer) -> None:
        rate = source.rate if source.rate in AAC_RATES else 48000
        layout = AAC_LAYOUTS.get(source.channels, "stereo")
        self._stream = output.add_stream("aac", rate=rate, layout=layout)
        self._stream.metadata.update(source.metadata)

    def convert(self, packet: Packet[AudioStream]) -> list[Packet[AudioStream]]:
        return [encoded for frame in packet.decode() for encoded in self._stream.encode(frame)]

    def finish(self) -> list[Packet[AudioStream]]:
        return self._stream.encode(None)


def _track(source: AudioStream, output: OutputContainer) -> _CopiedTrack | _EncodedTrack:
    codec = source.codec_context.codec
    if output.format.name == "mp4":
        holdable = codec.canonical_name in MP4_SOUND
    else:
        holdable = codec.name in output.supported_codecs
    return (_CopiedTrack if holdable else _EncodedTrack)(source, output)


def _time(packet: Packet[AudioStream]) -> Fraction:
    return Fraction(packet.dts or 0) * packet.time_base
