"""Chapters, cover pictures and attachments of a file, and the names of streams that a result cannot have."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final

from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import AttachmentStream, Discard, Disposition, Stream
from av.video.stream import VideoStream

from device_runtime.media.containers import Container
from device_runtime.media.video_info import MOVING_AVIF

COVER_TYPES: Final = {
    "mjpeg": ("jpg", "image/jpeg"),
    "png": ("png", "image/png"),
    "bmp": ("bmp", "image/bmp"),
}


def add_extras(
    source: InputContainer,
    output: OutputContainer,
    container: Container,
    start: Fraction,
    end: Fraction | None = None,
) -> tuple[list[Packet[Any]], list[str]]:
    """Add chapters, cover pictures and attachments to a result.

    Args:
        source: The open source; covers are read from its front.
        output: The result, whose header has not been written.
        container: What the result can hold.
        start: Time on the source's clock that is 0 in the result, in seconds.
        end: Time on that clock at which the result ends; None = with the source.

    Returns:
        Packets to write after the header, and a line for each thing that could not be added.
    """
    packets, notes = [], []
    chapters = _shifted(source.chapters(), start, end)
    if chapters:
        output.set_chapters(chapters)
    for stream in source.streams:
        if isinstance(stream, AttachmentStream):
            name = stream.name or f"attachment-{stream.index}"
            if container.has_attachments:
                output.add_attachment(name, stream.mimetype or "application/octet-stream", stream.data)
            else:
                notes.append(f"attachment {name} omitted: {container.format} has no attachments")
        elif _is_cover(stream):
            packet = _cover(source, stream)
            if packet is None or _codec(stream) not in COVER_TYPES:
                notes.append(f"a cover picture ({_codec(stream)}) omitted: its format is not supported")
            elif container.has_attachments:
                suffix, mimetype = COVER_TYPES[_codec(stream)]
                output.add_attachment(f"cover.{suffix}", mimetype, bytes(packet))
            elif not container.has_covers:
                notes.append(f"a cover picture omitted: {container.format} has none")
            elif container.needs_named_tags(output.metadata):
                notes.append(
                    f"a cover picture omitted: {container.format} cannot have one and tags of phones"
                )
            else:
                packets.append(_added_cover(stream, output, packet))
    return packets, notes


def omitted(source: InputContainer, shown: VideoStream) -> Iterator[str]:
    """Yield a line for each stream of the source that no result has.

    Args:
        source: The open source.
        shown: Its video stream that is stylized.
    """
    if source.metadata.get("major_brand") == MOVING_AVIF:
        return
    for stream in source.streams:
        if isinstance(stream, VideoStream) and stream.index != shown.index and not _is_cover(stream):
            size = f", {stream.width}×{stream.height}" if stream.codec_context else ""
            yield f"a further video stream ({_codec(stream)}{size}) omitted"
        elif stream.type in ("data", "unknown") and not _is_carried_otherwise(stream):
            name = getattr(stream, "name", None) or stream.metadata.get("handler_name", "unknown format")
            yield f"a data stream ({name}) omitted"


def _codec(stream: Stream) -> str:
    return stream.codec_context.codec.canonical_name if stream.codec_context else "unknown format"


def _is_cover(stream: Stream) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)


def _is_carried_otherwise(stream: Stream) -> bool:
    """Return whether a data stream is a track of chapters or timecodes, which the muxer writes itself."""
    return stream.discard == Discard.all or "timecode" in stream.metadata


def _cover(source: InputContainer, stream: Stream) -> Packet[Any] | None:
    return next((packet for packet in source.demux(stream) if packet.size), None)


def _added_cover(stream: Stream, output: OutputContainer, packet: Packet[Any]) -> Packet[Any]:
    added = output.add_stream_from_template(stream, opaque=True)
    added.disposition = Disposition.attached_pic
    packet.stream, packet.pts, packet.dts = added, 0, 0
    return packet


def _shifted(chapters: list[Any], start: Fraction, end: Fraction | None) -> list[Any]:
    """Return the chapters on the result's clock, without what lies outside it."""
    shifted = []
    for chapter in chapters:
        unit = chapter["time_base"] or Fraction(1)
        first = round(start / unit)
        last = None if end is None else round(end / unit)
        if chapter["end"] > first and (last is None or chapter["start"] < last):
            until = chapter["end"] if last is None else min(chapter["end"], last)
            shifted.append({**chapter, "start": max(0, chapter["start"] - first), "end": until - first})
    return shifted
