"""Finished pieces of a video, stored next to the result, so that an interrupted run can be resumed.

A piece starts with a key frame, ends before one and is encoded independently of its neighbors. Each is one
file, written atomically. Joining the pieces copies their packets without encoding again.
"""

from __future__ import annotations

import fcntl
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

from device_runtime.interpolation.grid import GridError, check_grid
from device_runtime.media.atomic_file import OutputError, pending_file, write_hint
from mvstylizer.stylizer import BilateralGrid

JOB: Final = "job.json"
SCHEMA_VERSION: Final = (
    4  # of job.json and the pieces; raised when a release makes other pictures of the same job
)


class PacketTimes(NamedTuple):
    """A packet as described in a piece's header.

    Attributes:
        pts: When it is shown, in units of the video's time base.
        duration: How long, in the same units.
        is_key: Whether it can be decoded on its own.
        size: Bytes.
    """

    pts: int
    duration: int
    is_key: bool
    size: int


@dataclass(frozen=True)
class Piece:
    """A finished piece, without its pictures.

    Attributes:
        path: The file: one line of JSON (the other attributes and a checksum), then the packets.
        frames: Number of frames.
        key_frames: Indices in the video of its key frames.
        fallback_key_frames: Indices of those that the device stylized.
        packets: In decoding order.
        carried: Smoothed map of the key frame that follows the piece, from which a resumed run
            continues; None without one.
    """

    path: Path
    frames: int
    key_frames: list[int]
    fallback_key_frames: list[int]
    packets: list[PacketTimes]
    carried: BilateralGrid | None = None

    def contents(self) -> Iterator[bytes]:
        """Read the packets one by one."""
        with self.path.open("rb") as file:
            file.readline()
            for packet in self.packets:
                yield file.read(packet.size)


class WorkFolder:
    """The pieces of one job, in a hidden folder next to its result.

    Pieces of another job (other files or options) are deleted, and so are all pieces after a missing or
    damaged one.

    Args:
        result: The result's path, from `check_output`.
        job: Everything that affects the result, as JSON-serializable values.

    Raises:
        OutputError: The folder cannot be created or read, another run uses it, or another release wrote it.
    """

    def __init__(self, result: Path, job: Mapping[str, Any]) -> None:
        self.path = result.with_name(f".{result.name}.unfinished")
        self.pieces: list[Piece] = []
        description = json.dumps(job, sort_keys=True)
        with _output_errors(self.path):
            self.path.mkdir(exist_ok=True)
            self._lock: int | None = _locked(self.path, result)
            kept = _text(self.path / JOB)
            if kept != description:
                try:
                    _check_schema(kept, self.path)
                except OutputError:
                    self.close()
                    raise
                self._clear()
                _write(self.path / JOB, description.encode())
            self.pieces = list(self._whole_pieces())
            self._clear(self.path / JOB, *(each.path for each in self.pieces))

    @property
    def frames(self) -> int:
        """Number of finished frames."""
        return sum(piece.frames for piece in self.pieces)

    @property
    def carried(self) -> BilateralGrid | None:
        """Smoothed map of the first unfinished frame, if it has one."""
        return self.pieces[-1].carried if self.pieces else None

    def add(
        self,
        packets: Sequence[Packet[VideoStream]],
        *,
        frames: int,
        key_frames: list[int],
        fallback_key_frames: list[int],
        carried: BilateralGrid | None = None,
    ) -> None:
        """Store the next piece durably: it survives a crash of the machine.

        Raises:
            OutputError: The disk is full, or the folder cannot be written for another reason.
        """
        contents = [bytes(packet) for packet in packets]
        times = [
            PacketTimes(packet.pts or 0, packet.duration or 0, packet.is_keyframe, len(content))
            for packet, content in zip(packets, contents, strict=True)
        ]
        path = self._piece_path(len(self.pieces))
        piece = Piece(path, frames, key_frames, fallback_key_frames, times, carried)
        body = b"".join(contents)
        header = {
            "frames": frames,
            "key_frames": key_frames,
            "fallback_key_frames": fallback_key_frames,
            "packets": times,
            "carried": None if carried is None else [carried.shape, b64encode(carried.tobytes()).decode()],
            "crc": zlib.crc32(body),
        }
        with _output_errors(self.path):
            _write(piece.path, json.dumps(header).encode() + b"\n" + body)
        self.pieces.append(piece)

    def packets(self, time_base: Fraction) -> Iterator[Packet[VideoStream]]:
        """Yield the packets of all pieces, timed as one video.

        The decoding times of each piece would overlap those of the previous one. Players need decoding times
        that increase and never exceed the display time: the sorted display times, all shifted back by the
        same span, satisfy both.

        Args:
            time_base: Seconds per unit.

        Raises:
            OutputError: A piece cannot be read.
        """
        shown = [packet.pts for piece in self.pieces for packet in piece.packets]
        ahead = max((due - pts for due, pts in zip(sorted(shown), shown, strict=True)), default=0)
        decoded = iter([due - ahead for due in sorted(shown)])
        with _output_errors(self.path):
            for piece in self.pieces:
                for times, content in zip(piece.packets, piece.contents(), strict=True):
                    packet = cast("Packet[VideoStream]", av.Packet(content))
                    packet.pts, packet.dts, packet.duration = times.pts, next(decoded), times.duration
                    packet.time_base, packet.is_keyframe = time_base, times.is_key
                    yield packet

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.close()

    def close(self) -> None:
        """Let another run continue from the folder."""
        handle, self._lock = self._lock, None
        if handle is not None:
            os.close(handle)

    def _clear(self, *kept: Path) -> None:
        """Delete what is in the folder, except for some files."""
        for path in set(self.path.iterdir()) - set(kept):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _piece_path(self, number: int) -> Path:
        return self.path / f"{number:06}.piece"

    def _whole_pieces(self) -> Iterator[Piece]:
        for number in count():
            piece = _read(self._piece_path(number))
            if piece is None:
                return
            yield piece


def _read(path: Path) -> Piece | None:
    """Read a piece's header and verify its packets; None if it is missing or damaged."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.readline())
            body = file.read()
        if zlib.crc32(body) != header.pop("crc"):
            return None
        packets = [PacketTimes(*each) for each in header.pop("packets")]
        return Piece(path, packets=packets, carried=_array(header.pop("carried")), **header)
    except (OSError, ValueError, TypeError, KeyError, GridError):
        return None


def _array(kept: tuple[list[int], str] | None) -> BilateralGrid | None:
    if kept is None:
        return None
    return check_grid(np.frombuffer(b64decode(kept[1]), np.float32).reshape(kept[0]))


def _write(path: Path, content: bytes) -> None:
    with pending_file(path) as pending, pending.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _locked(folder: Path, result: Path) -> int:
    """Lock a folder for as long as this run exists; the operating system releases it even after a crash.

    Raises:
        OutputError: Another run has locked it.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise OutputError(
            f"Another run is writing {result}", "Wait until it has ended or choose another output"
        ) from error
    return handle


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""


def _check_schema(job: str, folder: Path) -> None:
    """Refuse the pieces of another release; anything that is not a job description is overwritten."""
    try:
        description = json.loads(job)
    except ValueError:
        return
    if not isinstance(description, dict):
        return
    found = description.get("schema_version", description.get("format", SCHEMA_VERSION))
    if found != SCHEMA_VERSION:
        raise OutputError(
            f"{folder} has schema version {found}, this release needs {SCHEMA_VERSION}",
            "Delete that folder, or finish the run with the release that started it",
        )


@contextmanager
def _output_errors(folder: Path) -> Iterator[None]:
    """Turn operating-system errors into an OutputError."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{folder} cannot be used ({error.strerror})", write_hint(error)) from error
