"""Stylizing in pieces, so that a run that was interrupted goes on where it was."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, NamedTuple

from av.packet import Packet
from av.video.stream import VideoStream

from device_runtime.frames import Finished, Pictures
from device_runtime.interpolation.affine_map import AffineMap
from device_runtime.media.encoder import PictureEncoder
from device_runtime.media.reader import Frame, VideoInfo
from device_runtime.media.writer import VideoWriter
from device_runtime.options import StylizeOptions
from device_runtime.report import Stopwatch
from device_runtime.resume_folder import WorkFolder
from device_runtime.stylizers.style_mix import StylePhotos, normalised
from mvstylizer.bundle import Bundle, sha256_of

PIECE_FRAMES: Final = 100  # at least; an interruption costs what one piece takes, at most
FORMAT: Final = 2  # of the pieces; counts up when a release makes other pictures of the same job


class Made(NamedTuple):
    """What a result consists of: frames, and the places of its key frames and of those made on the device."""

    frames: int
    key_frames: list[int]
    fallback_key_frames: list[int]


def describe_job(
    source: Path, style_photo: StylePhotos, bundle: Bundle, recipe: StylizeOptions, crf: int
) -> dict[str, Any]:
    """Return what tells one job from another, as plain values: contents of the files, and options."""
    return {
        "format": FORMAT,
        "source": sha256_of(source),
        "style": [[sha256_of(path), weight] for path, weight in normalised(style_photo).items()],
        "models": {spec.role: spec.sha256 for spec in bundle.files},
        "recipe": asdict(recipe),
        "crf": crf,
    }


def keep_pieces(
    finished: Iterable[Finished],
    pictures: Pictures,
    folder: WorkFolder,
    info: VideoInfo,
    *,
    crf: int,
    watch: Stopwatch,
) -> None:
    """Encode pictures and put them into the folder, piece by piece.

    Args:
        finished: The pictures that the folder lacks, the first one that of a key frame.
        pictures: Where they come from.
        folder: Where they go.
        info: The source.
        crf: x264's quality.
        watch: Takes the time as ``encode``.
    """
    piece: _OpenPiece | None = None
    for each in finished:
        with watch.measure("encode"):
            if piece is not None and each.is_key and piece.frames >= PIECE_FRAMES:
                piece.keep(folder, pictures, each.affine_map)
                piece = None
            piece = piece or _OpenPiece(each.frame, info, crf)
            piece.encode(each)
    if piece is not None:
        with watch.measure("encode"):
            piece.keep(folder, pictures)


def join_pieces(folder: WorkFolder, writer: VideoWriter, info: VideoInfo, *, watch: Stopwatch) -> Made:
    """Copy the pieces into the result, with the sound of the source beside them, and remove the folder.

    Args:
        folder: Holds the whole video.
        writer: The result.
        info: The source.
        watch: Takes the time as ``encode``.
    """
    with watch.measure("encode"), writer:
        for packet in folder.packets(info.time_base):
            writer.append(packet)
    folder.remove()
    return Made(
        folder.frames,
        [place for piece in folder.pieces for place in piece.key_frames],
        [place for piece in folder.pieces for place in piece.fallback_key_frames],
    )


class _OpenPiece:
    """A piece that is being encoded."""

    def __init__(self, first: Frame, info: VideoInfo, crf: int) -> None:
        self.frames = 0
        self._first = first.index
        self._encoder = PictureEncoder(info, crf=crf)
        self._packets: list[Packet[VideoStream]] = []

    def encode(self, each: Finished) -> None:
        self._packets += self._encoder.encode(each.picture, each.frame.pts, each.frame.duration)
        self.frames += 1

    def keep(self, folder: WorkFolder, pictures: Pictures, carried: AffineMap | None = None) -> None:
        places = range(self._first, self._first + self.frames)
        folder.add(
            [*self._packets, *self._encoder.finish()],
            frames=self.frames,
            key_frames=[place for place in pictures.key_frames if place in places],
            fallback_key_frames=[place for place in pictures.fallback_key_frames if place in places],
            carried=carried,
        )
