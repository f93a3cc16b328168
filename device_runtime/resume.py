"""Stylize in pieces, so that an interrupted run can be resumed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, NamedTuple

from av.packet import Packet
from av.video.stream import VideoStream

from device_runtime.frames import Finished, Pictures
from device_runtime.media.encoder import PictureEncoder
from device_runtime.media.encoding import Encoding
from device_runtime.media.reader import Frame
from device_runtime.media.video_info import VideoInfo
from device_runtime.media.writer import VideoWriter
from device_runtime.options import StylizeOptions
from device_runtime.report import Stopwatch
from device_runtime.resume_folder import SCHEMA_VERSION, WorkFolder
from device_runtime.stylizers.style_mix import StylePhotos, normalized
from mvstylizer.bundle import Bundle, sha256_of
from mvstylizer.stylizer import BilateralGrid

MIN_PIECE_FRAMES: Final = 100  # an interruption costs at most the work on one piece


class WrittenVideo(NamedTuple):
    """Contents of a result.

    Attributes:
        frames: Number of frames.
        key_frames: Indices of the key frames.
        fallback_key_frames: Indices of those that the fallback stylized.
    """

    frames: int
    key_frames: list[int]
    fallback_key_frames: list[int]


def describe_job(
    source: Path, style_photo: StylePhotos, bundle: Bundle, options: StylizeOptions
) -> dict[str, Any]:
    """Return everything that affects the result, as JSON-serializable values."""
    return {
        "schema_version": SCHEMA_VERSION,
        "source": sha256_of(source),
        "style": [[sha256_of(path), weight] for path, weight in normalized(style_photo).items()],
        "models": {spec.role: spec.sha256 for spec in bundle.files},
        "options": asdict(options),
        "input_lut": sha256_of(Path(options.input_lut)) if options.input_lut else None,
    }


def keep_pieces(
    finished: Iterable[Finished],
    pictures: Pictures,
    folder: WorkFolder,
    info: VideoInfo,
    *,
    encoding: Encoding,
    watch: Stopwatch,
) -> None:
    """Encode pictures and store them in the folder, piece by piece.

    Args:
        finished: The pictures that the folder lacks, starting with a key frame.
        pictures: Where they come from.
        folder: Where they are stored.
        info: The source.
        encoding: Encoder, speed and quality.
        watch: Records the time as ``encode``.
    """
    piece: _OpenPiece | None = None
    for each in finished:
        with watch.measure("encode"):
            if piece is not None and each.is_key and piece.frames >= MIN_PIECE_FRAMES:
                piece.keep(folder, pictures, each.grid)
                piece = None
            piece = piece or _OpenPiece(each.frame, info, encoding)
            piece.encode(each)
    if piece is not None:
        with watch.measure("encode"):
            piece.keep(folder, pictures)


def join_pieces(
    folder: WorkFolder, writer: VideoWriter, info: VideoInfo, *, watch: Stopwatch
) -> WrittenVideo:
    """Copy the pieces and the source's sound into the result and remove the folder.

    Args:
        folder: Holds the complete video.
        writer: The result.
        info: The source.
        watch: Records the time as ``encode``.
    """
    with watch.measure("encode"), writer:
        for packet in folder.packets(info.time_base):
            writer.append(packet)
    folder.remove()
    return WrittenVideo(
        folder.frames,
        [index for piece in folder.pieces for index in piece.key_frames],
        [index for piece in folder.pieces for index in piece.fallback_key_frames],
    )


class _OpenPiece:
    """A piece that is being encoded."""

    def __init__(self, first: Frame, info: VideoInfo, encoding: Encoding) -> None:
        self.frames = 0
        self._first = first.index
        self._encoder = PictureEncoder(info, encoding=encoding)
        self._packets: list[Packet[VideoStream]] = []

    def encode(self, each: Finished) -> None:
        self._packets += self._encoder.encode(each.picture, each.frame.pts, each.frame.duration)
        self.frames += 1

    def keep(self, folder: WorkFolder, pictures: Pictures, carried: BilateralGrid | None = None) -> None:
        indices = range(self._first, self._first + self.frames)
        folder.add(
            [*self._packets, *self._encoder.finish()],
            frames=self.frames,
            key_frames=[index for index in pictures.key_frames if index in indices],
            fallback_key_frames=[index for index in pictures.fallback_key_frames if index in indices],
            carried=carried,
        )
