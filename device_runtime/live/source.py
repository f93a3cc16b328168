"""Live sources: a camera, a network stream, or a file played at its own pace."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from os.path import exists
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self, cast

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from device_runtime.live.upright import Uprighter
from device_runtime.media.clock import PacketClock, clocked_streams
from device_runtime.media.deinterlace import Deinterlacer
from device_runtime.media.input_file import open_input
from device_runtime.media.video_info import VideoError, find_stream, orientation_of, pixel_aspect_of

CAMERAS: Final = "/dev/video"
OPEN_TIMEOUT_S: Final = 15.0
SILENCE_TIMEOUT_S: Final = 10.0
# Start with the first pictures instead of after five seconds of probing, and do not buffer.
NETWORK: Final = {"fflags": "nobuffer", "flags": "low_delay", "analyzeduration": "1000000"}


class Captured(NamedTuple):
    """A picture and the time of its arrival, by `time.monotonic`."""

    picture: av.VideoFrame
    arrived: float


class LiveSource:
    """Decodes in a background thread and keeps only the newest picture.

    Use as a context manager.

    Args:
        name: ``/dev/video0`` (v4l2), a URL that FFmpeg reads (``rtsp://``, ``udp://``, ``srt://``, …), or a
            file, played in real time.

    Attributes:
        pixel_aspect: Width of a pixel over its height, of the upright pictures; known after the first `take`.
        captured: Number of pictures decoded so far.
        taken: Number of those returned by `take`; the others were dropped.

    Raises:
        VideoError: There is no such source, or it sends no video.
    """

    def __init__(self, name: str) -> None:
        self.captured = self.taken = 0
        self._name = name
        self._is_paced = "://" not in name and not name.startswith(CAMERAS)
        self._container = _open(name)
        try:
            self._stream = find_stream(self._container, Path(name))
        except VideoError:
            self._container.close()
            raise
        self.pixel_aspect = Fraction(1)
        self._newest: Captured | None = None
        self._changed = threading.Condition()
        self._has_ended = self._is_closed = False
        self._error: av.FFmpegError | None = None
        self._thread = threading.Thread(target=self._read, name="live-source", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join(timeout=1)  # a thread that waits for a silent network ends later by itself

    def take(self) -> Captured | None:
        """Wait for a picture newer than the last one taken and return it; None when the source has ended.

        Raises:
            VideoError: The source failed or stopped sending.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._has_ended)
            newest, self._newest = self._newest, None
        if newest is not None:
            self.taken += 1
        elif self._error is not None:
            raise VideoError(
                f"{self._name} stopped sending pictures ({self._error.strerror})", "Check the source"
            ) from self._error
        return newest

    def _read(self) -> None:
        try:
            self._play()
        except av.EOFError:
            pass
        except av.FFmpegError as error:
            self._error = error
        finally:
            self._container.close()
            with self._changed:
                self._has_ended = True
                self._changed.notify_all()

    def _play(self) -> None:
        """Keep each picture, upright and progressive, when it is due."""
        began, first = time.monotonic(), None
        upright = Uprighter()
        for picture in Deinterlacer()(self._decoded()):
            if first is None:
                first = picture.time
                self.pixel_aspect = pixel_aspect_of(self._stream, orientation_of(picture))
            if self._is_paced and not self._sleep(began + (picture.time or 0) - (first or 0)):
                return
            if not self._put(upright(picture)):
                return

    def _decoded(self) -> Iterator[av.VideoFrame]:
        for packet in self._packets():
            try:
                yield from packet.decode()
            except av.InvalidDataError:
                continue  # a stream joined midway, or a lost packet

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        """Yield the packets of the picture; a file's with continuous times, as it is played by them."""
        if not self._is_paced:
            yield from self._container.demux(self._stream)
            return
        demuxed = self._container.demux(clocked_streams(self._container))
        for packet in PacketClock(self._container).repaired(demuxed):
            if packet.stream.index == self._stream.index:
                yield cast("Packet[VideoStream]", packet)

    def _sleep(self, until: float) -> bool:
        """Wait until a time; return False if the source is closed first."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed, timeout=max(0.0, until - time.monotonic()))
            return not self._is_closed

    def _put(self, picture: av.VideoFrame) -> bool:
        with self._changed:
            self._newest = Captured(picture, time.monotonic())
            self.captured += 1
            self._changed.notify_all()
            return not self._is_closed


def _open(name: str) -> InputContainer:
    is_camera, is_url = name.startswith(CAMERAS), "://" in name
    if not is_url and not exists(name):
        raise VideoError(f"There is no source {name}", "Use /dev/video0, a URL such as udp://…, or a file")
    try:
        if not is_camera and not is_url:
            return open_input(Path(name))
        return av.open(
            name,
            format="v4l2" if is_camera else None,
            options=NETWORK if is_url else {},
            timeout=(OPEN_TIMEOUT_S, SILENCE_TIMEOUT_S) if is_url else None,
        )
    except (av.FFmpegError, OSError) as error:
        raise VideoError(
            f"{name} sends no video ({error.strerror})", "Check that the source exists and is sending"
        ) from error
