"""What each output container can hold, beyond what FFmpeg's muxers would accept.

FFmpeg writes more than players read, and some codecs that it lists fail when the header is written. A stream
is copied if it is in the table and a trial header succeeds.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, Final

import av
from av.stream import Disposition, Stream

from device_runtime.media.video_info import VideoError

CONTAINERS: Final = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}

ADTS: Final = ("mpegts", "mpeg", "aac")

_MPEG_FLAGS: Final = (
    Disposition.default
    | Disposition.dub
    | Disposition.comment
    | Disposition.forced
    | Disposition.hearing_impaired
    | Disposition.visual_impaired
    | Disposition.captions
    | Disposition.descriptions
)
_PCM: Final = {
    f"pcm_{kind}" for kind in ("s16le", "s16be", "s24le", "s24be", "s32le", "s32be", "f32le", "f64le")
}
# Tags that have a place of their own in MP4 and MOV; all others need a list of named keys.
_PLAIN_TAGS: Final = {
    *("title", "artist", "album_artist", "album", "composer", "comment", "copyright", "creation_time"),
    *("date", "description", "encoding_tool", "genre", "grouping", "lyrics", "synopsis", "timecode", "track"),
}


@dataclass(frozen=True)
class Container:
    """A kind of output file.

    Attributes:
        format: FFmpeg's name.
        sound: Codecs that are copied; None = all that FFmpeg writes.
        subtitles: Codecs that are copied; None = all that FFmpeg writes.
        text: Codec that other text subtitles are converted to.
        flags: Dispositions that it keeps.
        has_covers: Whether it holds a cover picture, if no tags need named keys.
        has_attachments: Whether it holds fonts and other files.
        needs_increase: Whether no two packets of a stream may have the same decoding time.
        has_named_tags: Whether tags other than the usual ones need `use_metadata_tags`.
    """

    format: str
    sound: frozenset[str] | None
    subtitles: frozenset[str] | None
    text: str
    flags: Disposition
    has_covers: bool = True
    has_attachments: bool = False
    has_named_tags: bool = True
    needs_increase: bool = True

    def copies(self, stream: Stream) -> bool:
        """Return whether a sound or subtitle stream can be copied unchanged."""
        allowed = self.sound if stream.type == "audio" else self.subtitles
        codec = stream.codec_context.codec
        if allowed is not None and not {codec.name, codec.canonical_name} & allowed:
            return False
        # AAC without a description is complete in broadcast formats only; elsewhere the file is damaged.
        if codec.canonical_name == "aac" and not stream.codec_context.extradata:
            return stream.container.format.name in ADTS and self._accepts(stream)
        return self._accepts(stream)

    def needs_named_tags(self, tags: Any) -> bool:
        """Return whether any of the tags has no place of its own."""
        return self.has_named_tags and any(key.lower() not in _PLAIN_TAGS for key in tags)

    def _accepts(self, stream: Stream) -> bool:
        try:
            with av.open(io.BytesIO(), "w", format=self.format) as trial:
                trial.add_stream_from_template(stream, opaque=True)
                trial.start_encoding()
        except (av.FFmpegError, ValueError):
            return False
        return True


_MP4: Final = Container(
    "mp4",
    frozenset({"aac", "ac3", "alac", "eac3", "flac", "mp3", "opus"}),
    frozenset({"mov_text"}),
    "mov_text",
    _MPEG_FLAGS,
)
_MOV: Final = Container(
    "mov",
    frozenset({"aac", "ac3", "alac", "eac3", "mp3", *_PCM}),
    frozenset({"mov_text"}),
    "mov_text",
    Disposition.default,
    has_covers=False,
)
_MATROSKA: Final = Container(
    "matroska",
    None,
    None,
    "subrip",
    (_MPEG_FLAGS | Disposition.original) & ~Disposition.captions,
    has_attachments=True,
    has_named_tags=False,
    needs_increase=False,
)
_TABLE: Final = {container.format: container for container in (_MP4, _MOV, _MATROSKA)}


def container_of(suffix: str) -> Container:
    """Return the container of a file's suffix.

    Raises:
        VideoError: There is none.
    """
    name = CONTAINERS.get(suffix.lower())
    if name is None:
        raise VideoError(f"{suffix or 'No suffix'} is not a video suffix", f"Use {', '.join(CONTAINERS)}")
    return _TABLE[name]


def container_named(name: str) -> Container:
    """Return a container by FFmpeg's name."""
    return _TABLE[name]
