"""Video out: H.264 that any player opens, with the source's times, colours and sound."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast

import av
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from device_runtime.audio_copy import AudioCopy
from device_runtime.colour import ColourConverter
from device_runtime.output_file import check_output, pending_file
from device_runtime.video import VideoError, VideoInfo

CONTAINERS: Final = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}


class VideoWriter:
    """Encodes frames as H.264 and copies the source's sound beside them.

    Use as a context manager. The file stands under a temporary name beside the target until the block ends
    well; any exception (KeyboardInterrupt too) removes it and leaves the target as it was.

    Even sizes are written as yuv420p. An odd width or height cannot be: 4:2:0 halves both, and H.264 can only
    crop it in steps of two. Such a video is written as yuv444p (High 4:4:4 Predictive profile), which keeps
    the size exactly; computers play it, some phones' hardware decoders do not.

    Args:
        target: Where the video goes: .mp4, .m4v, .mov or .mkv.
        like: The source, whose size, rate, times, colour tags and sound are taken over.
        crf: x264's quality, 0 (lossless) to 51; 18 can hardly be told from its input.
        preset: x264's speed, from ``ultrafast`` to ``veryslow``.

    Raises:
        VideoError: The suffix is unknown or the file cannot be written.
        OutputError: The target's folder is missing or read-only, or the target is the source itself.
    """

    def __init__(self, target: Path, like: VideoInfo, *, crf: int = 18, preset: str = "veryfast") -> None:
        if target.suffix.lower() not in CONTAINERS:
            raise VideoError(f"{target.name} has no suffix of a video", f"Use {', '.join(CONTAINERS)}")
        self._target = check_output(target, like.path)
        self._like = like
        self._options = {"crf": str(crf), "preset": preset}
        self._pixel_format = "yuv444p" if like.width % 2 or like.height % 2 else "yuv420p"
        self._colours = ColourConverter(like.colour)
        self._shift = round(like.start / like.time_base)
        self._step = max(1, round(1 / (like.rate * like.time_base)))
        self._durations: dict[int, int] = {}
        self._cleanup = ExitStack()
        self._container: OutputContainer
        self._stream: VideoStream
        self._sound: AudioCopy | None = None

    @property
    def warnings(self) -> list[str]:
        """What of the sound could not be copied."""
        return self._sound.warnings if self._sound else []

    def __enter__(self) -> Self:
        with ExitStack() as opened, _writing(self._target):
            pending = opened.enter_context(pending_file(self._target))
            self._container = self._open(pending)
            opened.callback(_abandon, self._container)
            self._stream = self._add_picture()
            if self._like.has_audio:
                self._sound = AudioCopy(self._like.path, self._container, self._like.start)
                opened.callback(self._sound.close)
            self._container.start_encoding()
            self._cleanup = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._cleanup.__exit__(kind, error, trace)
            return
        with self._cleanup, _writing(self._target):
            self._encode(None)
            if self._sound:
                self._sound.finish()
            self._container.close()

    def write(self, rgb: NDArray[np.uint8], pts: int, duration: int = 0) -> None:
        """Append one frame.

        Args:
            rgb: uint8 RGB (H, W, 3) of the source's size.
            pts: When it is shown, in units of the source's time base; rising.
            duration: How long, in the same units; 0 = until the next frame (the last one: for 1 / rate).

        Raises:
            VideoError: The disk is full or the file cannot be written for another reason.
        """
        if rgb.shape != (self._like.height, self._like.width, 3):
            raise ValueError(f"frame {rgb.shape} in a video of {self._like.width}×{self._like.height}")
        frame = self._colours.from_rgb(rgb, self._pixel_format)
        frame.pts = pts - self._shift
        frame.time_base = self._like.time_base
        self._durations[frame.pts] = duration or self._step
        with _writing(self._target):
            self._encode(frame)
            if self._sound:
                self._sound.copy_until(frame.pts * self._like.time_base)

    def _open(self, pending: Path) -> OutputContainer:
        name = CONTAINERS[self._target.suffix.lower()]
        options = {}
        if name != "matroska":  # which counts in milliseconds, whatever it is told
            options = {
                "movflags": "+faststart",
                "video_track_timescale": str(self._like.time_base.denominator),
            }
        container = av.open(str(pending), "w", format=name, container_options=options)
        container.metadata.update(self._like.metadata)
        return container

    def _add_picture(self) -> VideoStream:
        stream = self._container.add_stream("libx264", rate=self._like.rate, options=self._options)
        codec = stream.codec_context
        codec.width, codec.height = self._like.width, self._like.height
        codec.pix_fmt = self._pixel_format
        codec.time_base = self._like.time_base
        codec.sample_aspect_ratio = self._like.pixel_aspect
        colour = self._like.colour
        codec.colorspace, codec.color_range = colour.matrix, colour.range
        codec.color_primaries, codec.color_trc = colour.primaries, colour.transfer
        return stream

    def _encode(self, frame: av.VideoFrame | None) -> None:
        for packet in self._stream.encode(frame):
            # x264 drops durations; without them the last frame of a variable rate would lose its own.
            packet.duration = self._durations.pop(cast("int", packet.pts), self._step)
            self._container.mux(packet)


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Say in one line that the file cannot be written."""
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        raise VideoError(
            f"{target} cannot be written ({error.strerror})", "Free some space or choose another output"
        ) from error


def _abandon(container: OutputContainer) -> None:
    """Close a container whose file is given up (harmless after a proper close)."""
    with suppress(av.FFmpegError, OSError):
        container.close()
