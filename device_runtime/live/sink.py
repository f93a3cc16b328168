"""Live outputs: a network stream, a file, or a window."""

from __future__ import annotations

import os
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self, cast

import av
from av.container import OutputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from device_runtime.media.atomic_file import check_output, pending_file
from device_runtime.media.color import Color, ColorConverter, reformatted
from device_runtime.media.encoder import open_encoder
from device_runtime.media.encoding import Encoder
from device_runtime.media.planes import Picture, Planes, in_rgb
from device_runtime.media.video_info import VideoError

WINDOW: Final = "window"
TIME_BASE: Final = Fraction(1, 90_000)  # MPEG's
RATE: Final = 30  # a hint for the encoder; the times are the clock's
KEY_EVERY_S: Final = 1.0  # maximum wait for a viewer who joins
STREAMS: Final = {"udp": "mpegts", "rtp": "rtp_mpegts", "srt": "mpegts", "tcp": "mpegts", "rtsp": "rtsp"}
FILES: Final = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".ts": "mpegts"}


class LiveSink(Protocol):
    """Shows pictures one after the other; a context manager."""

    def show(self, picture: Picture, seconds: float) -> None:
        """Show a picture, uint8 RGB (H, W, 3) or planes, with its time in seconds since the first one."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_sink(
    out: str,
    size: tuple[int, int],
    color: Color,
    encoder: Encoder,
    pixel_aspect: Fraction = Fraction(1),
) -> LiveSink:
    """Open a sink.

    Args:
        out: ``window``, a URL (``udp://``, ``rtp://``, ``srt://``, ``tcp://``, ``rtsp://``) or a file.
        size: Height and width of the pictures.
        color: Color tags of the pictures.
        encoder: The encoder, for a live run.
        pixel_aspect: Width of a pixel over its height.

    Raises:
        VideoError: It is not writable, or there is no display.
        EncoderError: The encoder cannot be opened.
        OutputError: The file's folder is missing or read-only.
    """
    return _Window() if out == WINDOW else _Stream(out, size, color, encoder, pixel_aspect)


class _Stream:
    """Encoded without look-ahead, in the format of the URL or the file's suffix."""

    def __init__(
        self, out: str, size: tuple[int, int], color: Color, encoder: Encoder, pixel_aspect: Fraction
    ) -> None:
        scheme, is_url, _ = out.partition("://")
        name = STREAMS.get(scheme) if is_url else FILES.get(Path(out).suffix.lower())
        if name is None:
            known = ", ".join([*(f"{each}://" for each in STREAMS), *FILES, WINDOW])
            raise VideoError(f"{out} is not a supported live output", f"Use {known}")
        self._out = out
        self._size = size[0] // 2 * 2, size[1] // 2 * 2  # 4:2:0 halves both
        self._colors = ColorConverter(color)
        self._encoder = encoder
        self._next_key_s = 0.0
        self._last = -1
        with ExitStack() as opened:
            target = out if is_url else str(opened.enter_context(pending_file(check_output(Path(out)))))
            try:
                self._container: OutputContainer = av.open(target, "w", format=name)
                opened.callback(self._container.close)
                added = self._container.add_stream(self._encoder.name, rate=RATE)
                self._stream = cast("VideoStream", added)
                self._stream.codec_context.sample_aspect_ratio = pixel_aspect
                _configure(self._stream.codec_context, self._size, color, self._encoder)
                self._container.start_encoding()
            except (av.FFmpegError, OSError) as error:
                raise self._unwritable(error) from error
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._opened.__exit__(kind, error, trace)
            return
        with self._opened:
            self._mux(None)

    def show(self, picture: Picture, seconds: float) -> None:
        """See `LiveSink.show`."""
        height, width = self._size
        if isinstance(picture, Planes):
            frame = picture.cropped(height, width).frame()
        else:
            frame = self._colors.from_rgb(picture[:height, :width], "yuv420p")
        if frame.format.name != self._encoder.pixel_format:
            frame = reformatted(frame, self._encoder.pixel_format)
        frame.pts = self._last = max(self._last + 1, round(seconds / TIME_BASE))
        frame.time_base = TIME_BASE
        if seconds >= self._next_key_s:
            frame.pict_type = av.video.frame.PictureType.I
            self._next_key_s = seconds + KEY_EVERY_S
        self._mux(frame)

    def _mux(self, frame: av.VideoFrame | None) -> None:
        try:
            self._container.mux(self._stream.encode(frame))
        except (av.FFmpegError, OSError) as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: av.FFmpegError | OSError) -> VideoError:
        return VideoError(f"{self._out} is not writable ({error.strerror})", "Check the address or folder")


class _Window:
    """A tkinter window."""

    def __init__(self) -> None:
        if not os.environ.get("DISPLAY"):
            raise VideoError(
                "There is no display for a window", "Use a file or a URL such as udp://… instead"
            )
        try:
            import tkinter

            self._root: Any = tkinter.Tk()
        except Exception as error:  # ImportError or TclError
            raise VideoError(f"Cannot open a window ({error})", "Use a file or a URL instead") from error
        self._photo_of = tkinter.PhotoImage
        self._root.title("MVStylizer")
        self._label: Any = tkinter.Label(self._root)
        self._label.pack()
        self._is_open = True
        self._root.protocol("WM_DELETE_WINDOW", self._close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._root.destroy()

    def show(self, picture: Picture, seconds: float) -> None:
        """See `LiveSink.show`; closing the window acts like Ctrl-C."""
        if not self._is_open:
            raise KeyboardInterrupt
        rgb = in_rgb(picture)
        height, width = rgb.shape[:2]
        photo = self._photo_of(data=b"P6 %d %d 255 " % (width, height) + rgb.tobytes(), format="ppm")
        self._label.configure(image=photo)
        self._label.image = photo  # tkinter does not keep a reference itself
        self._root.update()

    def _close(self) -> None:
        self._is_open = False


def _configure(codec: VideoCodecContext, size: tuple[int, int], color: Color, encoder: Encoder) -> None:
    codec.height, codec.width = size
    codec.pix_fmt = encoder.pixel_format
    codec.time_base = TIME_BASE
    codec.options = encoder.options
    codec.colorspace, codec.color_range = color.matrix, color.range
    codec.color_primaries, codec.color_trc = color.primaries, color.transfer
    open_encoder(codec, encoder.name)
