"""Finished pieces of a video, kept beside the result, so that an interrupted run can be taken up again.

A piece begins with a key frame and ends before one, and is encoded on its own: it needs nothing from its
neighbours. Each is one file, which appears under its name when it is whole. Together they make the picture
of the result by copying, without encoding anything again.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import av
import numpy as np
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from device_runtime.media.atomic_file import OutputError, pending_file

JOB: Final = "job.json"


class PacketTimes(NamedTuple):
    """What a piece's header says of one packet: times in units of the video's time base, and its bytes."""

    pts: int
    duration: int
    is_key: bool
    size: int


@dataclass(frozen=True)
class Piece:
    """A finished piece, without its pictures.

    Attributes:
        path: Where it lies: one line of JSON (the other attributes, and a checksum), then the packets.
        frames: How many it holds.
        key_frames: Key frames among them, by their place in the video.
        fallback_key_frames: Those that were stylized on the device.
        packets: In decoding order.
        carried: Of the key frame behind it, the steadied affine map, with which an interrupted run goes on;
            None where there is none.
    """

    path: Path
    frames: int
    key_frames: list[int]
    fallback_key_frames: list[int]
    packets: list[PacketTimes]
    carried: NDArray[np.float32] | None = None

    def contents(self) -> Iterator[bytes]:
        """Read the packets one by one."""
        with self.path.open("rb") as file:
            file.readline()
            for packet in self.packets:
                yield file.read(packet.size)


class WorkFolder:
    """The pieces of one job, in a hidden folder beside its result.

    Pieces of another job (other files or options) are thrown away, and so is whatever comes after a piece
    that is missing or damaged.

    Args:
        result: The result's path, as `check_output` returned it.
        job: Everything that makes a difference to the result, as plain values.

    Raises:
        OutputError: The folder cannot be made or read.
    """

    def __init__(self, result: Path, job: Mapping[str, Any]) -> None:
        self.path = result.with_name(f".{result.name}.unfinished")
        self.pieces: list[Piece] = []
        description = json.dumps(job, sort_keys=True)
        with _said(self.path):
            if _text(self.path / JOB) != description:
                self.remove()
                self.path.mkdir()
                _write(self.path / JOB, description.encode())
            self.pieces = list(self._whole_pieces())
            for path in set(self.path.iterdir()) - {self.path / JOB, *(each.path for each in self.pieces)}:
                path.unlink()

    @property
    def frames(self) -> int:
        """How many frames are finished."""
        return sum(piece.frames for piece in self.pieces)

    @property
    def carried(self) -> NDArray[np.float32] | None:
        """The steadied affine map of the first frame that is not finished, if it has one."""
        return self.pieces[-1].carried if self.pieces else None

    def add(
        self,
        packets: Sequence[Packet[VideoStream]],
        *,
        frames: int,
        key_frames: list[int],
        fallback_key_frames: list[int],
        carried: NDArray[np.float32] | None = None,
    ) -> None:
        """Keep the next piece; it survives a crash of the machine from here on.

        Raises:
            OutputError: The disk is full, or the folder cannot be written for another reason.
        """
        contents = [bytes(packet) for packet in packets]
        times = [
            PacketTimes(packet.pts or 0, packet.duration or 0, packet.is_keyframe, len(content))
            for packet, content in zip(packets, contents, strict=True)
        ]
        place = self._place(len(self.pieces))
        piece = Piece(place, frames, key_frames, fallback_key_frames, times, carried)
        body = b"".join(contents)
        header = {
            "frames": frames,
            "key_frames": key_frames,
            "fallback_key_frames": fallback_key_frames,
            "packets": times,
            "carried": None if carried is None else [carried.shape, b64encode(carried.tobytes()).decode()],
            "crc": zlib.crc32(body),
        }
        with _said(self.path):
            _write(piece.path, json.dumps(header).encode() + b"\n" + body)
        self.pieces.append(piece)

    def packets(self, time_base: Fraction) -> Iterator[Packet[VideoStream]]:
        """Give the packets of all pieces, timed as those of one video.

        Each encoder's own decoding times would run into those of the piece before. What a player needs is
        that they rise and that no picture is decoded after it is shown: the display times in rising order,
        all moved forward by the same span, are such times.

        Args:
            time_base: Seconds per unit.

        Raises:
            OutputError: A piece cannot be read.
        """
        shown = [packet.pts for piece in self.pieces for packet in piece.packets]
        ahead = max((due - pts for due, pts in zip(sorted(shown), shown, strict=True)), default=0)
        decoded = iter([due - ahead for due in sorted(shown)])
        with _said(self.path):
            for piece in self.pieces:
                for times, content in zip(piece.packets, piece.contents(), strict=True):
                    packet = cast("Packet[VideoStream]", av.Packet(content))
                    packet.pts, packet.dts, packet.duration = times.pts, next(decoded), times.duration
                    packet.time_base, packet.is_keyframe = time_base, times.is_key
                    yield packet

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _place(self, number: int) -> Path:
        return self.path / f"{number:06}.piece"

    def _whole_pieces(self) -> Iterator[Piece]:
        for number in count():
            piece = _read(self._place(number))
            if piece is None:
                return
            yield piece


def _read(path: Path) -> Piece | None:
    """Read a piece's header and check its packets; None when it is missing or damaged."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.readline())
            body = file.read()
        if zlib.crc32(body) != header.pop("crc"):
            return None
        packets = [PacketTimes(*each) for each in header.pop("packets")]
        return Piece(path, packets=packets, carried=_array(header.pop("carried")), **header)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _array(kept: tuple[list[int], str] | None) -> NDArray[np.float32] | None:
    return None if kept is None else np.frombuffer(b64decode(kept[1]), np.float32).reshape(kept[0])


def _write(path: Path, content: bytes) -> None:
    with pending_file(path) as pending, pending.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""


@contextmanager
def _said(folder: Path) -> Iterator[None]:
    """Say in one line that the folder cannot be used."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be used ({error.strerror})", "Free some space or choose another output"
        ) from error
