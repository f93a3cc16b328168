"""Sound and subtitle tracks of the result: copied, or re-encoded where the container needs it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final, Protocol, cast

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.subtitles.codeccontext import SubtitleCodecContext
from av.subtitles.stream import SubtitleStream

from device_runtime.media.containers import Container

AAC_RATES: Final = {96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350}
AAC_LAYOUTS: Final = {
    1: "mono",
    3: "3.0",
    4: "4.0",
    5: "5.0",
    6: "5.1",
    7: "6.1",
    8: "7.1",
    16: "hexadecagonal",
}
CHANNEL_BITS: Final = 96_000  # per second and channel, transparent for AAC
TEXT: Final = {"ass", "mov_text", "ssa", "subrip", "text", "webvtt"}
STYLED: Final = {"ass", "ssa"}
NO_TEXT: Final = bytes(2)  # MP4's empty packet between two subtitles
# Written by the muxer of the source about its own packets; wrong in the result.
STALE_TAGS: Final = ("encoder", "duration", "bps", "number_of_", "_statistics", "vendor_id")
# MOV knows languages by their bibliographic codes of ISO 639-2, other containers by the terminological ones.
MOV_LANGUAGES: Final = {
    **{"bod": "tib", "ces": "cze", "cym": "wel", "deu": "ger", "ell": "gre", "eus": "baq", "fas": "per"},
    **{"fra": "fre", "hye": "arm", "isl": "ice", "kat": "geo", "mkd": "mac", "mri": "mao", "msa": "may"},
    **{"mya": "bur", "nld": "dut", "ron": "rum", "slk": "slo", "sqi": "alb", "zho": "chi"},
}


class UnsupportedError(Exception):
    """A stream cannot be in the result; its text says why."""


class Track(Protocol):
    """Converts packets of the source to packets of the result.

    Attributes:
        note: What the user should know about the conversion; may be empty.
    """

    note: str

    def convert(self, packet: Packet[Any]) -> list[Packet[Any]]:
        """Return the packets that a packet of the source becomes."""
        ...

    def finish(self) -> list[Packet[Any]]:
        """Return the remaining packets."""
        ...


def open_track(source: Any, output: OutputContainer, container: Container) -> Track:
    """Add a stream of the source to the result.

    Args:
        source: An audio or subtitle stream.
        output: The result, whose header has not been written.
        container: What the result can hold.

    Raises:
        UnsupportedError: The stream has no data, or cannot be in this container.
        FFmpegError: FFmpeg refuses the stream.
    """
    if source.codec_context is None:
        raise UnsupportedError("no decoder for it")
    if isinstance(source, AudioStream) and not (source.codec_context.sample_rate and source.channels):
        raise UnsupportedError("it has no data")
    if container.copies(source):
        return _CopiedTrack(source, output, container)
    if isinstance(source, AudioStream):
        return _EncodedSound(source, output, container)
    if source.codec_context.codec.canonical_name not in TEXT:
        raise UnsupportedError(f"{container.format} does not support this format")
    return _EncodedSubtitles(source, output, container)


def describe(source: Stream, target: Any, container: Container) -> None:
    """Copy language, title and the flags that the container knows."""
    target.metadata.update(
        {key: text for key, text in source.metadata.items() if not key.lower().startswith(STALE_TAGS)}
    )
    language = source.metadata.get("language", "")
    if container.format == "mov" and language in MOV_LANGUAGES:
        target.metadata["language"] = MOV_LANGUAGES[language]
    target.disposition = source.disposition & container.flags


def is_gap(packet: Packet[Any]) -> bool:
    """Return whether a packet is the gap between two MP4 subtitles, which the muxer writes itself."""
    return isinstance(packet.stream, SubtitleStream) and bytes(packet) == NO_TEXT


class _CopiedTrack:
    """Passes packets through."""

    note = ""

    def __init__(self, source: Stream, output: OutputContainer, container: Container) -> None:
        self._stream = output.add_stream_from_template(source, opaque=True)
        describe(source, self._stream, container)

    def convert(self, packet: Packet[Any]) -> list[Packet[Any]]:
        if is_gap(packet):
            return []
        if packet.has_sidedata("new_extradata"):  # of a damaged file: it would end the run
            packet = _without_side_data(packet)
        packet.stream = self._stream
        return [packet]

    def finish(self) -> list[Packet[Any]]:
        return []


class _EncodedSound:
    """Re-encodes sound as AAC, at the same rate and channel layout if AAC supports them."""

    def __init__(self, source: AudioStream, output: OutputContainer, container: Container) -> None:
        rate = source.rate if source.rate in AAC_RATES else 48000
        layout, channels = _aac_layout(source, rate)
        self.note = f"re-encoded as AAC, because {container.format} does not hold its format"
        if channels < source.channels:
            self.note += f"; its {source.channels} channels were mixed down to {channels}"
        self._stream = output.add_stream("aac", rate=rate, layout=layout, bit_rate=CHANNEL_BITS * channels)
        describe(source, self._stream, container)
        self._resampler: av.AudioResampler | None = None
        self._setup: tuple[str, str, int] | None = None

    def convert(self, packet: Packet[AudioStream]) -> list[Packet[Any]]:
        frames = [part for frame in packet.decode() for part in self._uniform(frame)]
        return [encoded for frame in frames for encoded in self._stream.encode(frame)]

    def finish(self) -> list[Packet[Any]]:
        rest = self._resampler.resample(None) if self._resampler else []
        return [encoded for frame in [*rest, None] for encoded in self._stream.encode(frame)]

    def _uniform(self, frame: av.AudioFrame) -> list[av.AudioFrame]:
        """Resample to the encoder's format; broadcasts change from stereo to 5.1 and back midway."""
        setup = frame.format.name, frame.layout.name, frame.sample_rate
        rest = []
        if self._resampler is None or setup != self._setup:
            rest = self._resampler.resample(None) if self._resampler else []
            codec = self._stream.codec_context
            self._resampler = av.AudioResampler(codec.format, codec.layout, codec.sample_rate)
            self._setup = setup
        return [*rest, *self._resampler.resample(frame)]


class _EncodedSubtitles:
    """Re-encodes text subtitles in another text format, including italics."""

    def __init__(self, source: SubtitleStream, output: OutputContainer, container: Container) -> None:
        codec = source.codec_context.codec.canonical_name
        self.note = f"converted to {container.text}, without fonts and positions" if codec in STYLED else ""
        self._decoder = source.codec_context
        self._decoder.open(strict=False)  # opening reads the header, which describes the styles
        self._stream = output.add_stream(container.text)
        describe(source, self._stream, container)
        self._encoder = cast("SubtitleCodecContext", self._stream.codec_context)
        self._encoder.subtitle_header = self._decoder.subtitle_header
        self._encoder.time_base = cast("Fraction", source.time_base)

    def convert(self, packet: Packet[Any]) -> list[Packet[Any]]:
        subtitles = None if is_gap(packet) else self._decoder.decode2(packet)
        if subtitles is None:
            return []
        encoded = self._encoder.encode_subtitle(subtitles)
        encoded.pts, encoded.dts, encoded.duration = packet.pts, packet.dts, packet.duration
        encoded.time_base, encoded.stream = packet.time_base, self._stream
        return [encoded]

    def finish(self) -> list[Packet[Any]]:
        return []


def _without_side_data(packet: Packet[Any]) -> Packet[Any]:
    plain: Packet[Any] = av.Packet(bytes(packet))
    plain.pts, plain.dts, plain.duration = packet.pts, packet.dts, packet.duration
    plain.time_base, plain.is_keyframe = packet.time_base, packet.is_keyframe
    return plain


def _aac_layout(source: AudioStream, rate: int) -> tuple[str, int]:
    """Return the layout closest to the source's that AAC can encode, and its number of channels."""
    for layout in (source.layout.name, AAC_LAYOUTS.get(source.channels)):
        if layout is None:
            continue
        trial = av.CodecContext.create("aac", "w")
        try:
            trial.sample_rate, trial.layout, trial.format = rate, layout, "fltp"
            trial.open()
        except (av.FFmpegError, ValueError):
            continue
        return layout, trial.channels
    return "stereo", 2
