"""Properties of a video file: size, rate, clock, orientation, color tags and metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from os.path import exists  # unlike Path's, it accepts a name that is too long
from pathlib import Path
from typing import Final, cast

import av
from av.buffer import Buffer
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from device_runtime.media.clock import start_of
from device_runtime.media.color import HDR_TRANSFERS, Color, bits_of, is_dolby_vision, unknown_color
from device_runtime.media.input_file import open_input
from device_runtime.media.light_level import LightLevel
from device_runtime.media.orientation import Orientation
from mvstylizer.errors import MVStylizerError
from mvstylizer.stylizer import MAX_ASPECT, is_too_thin

AV_TIME_BASE: Final = Fraction(1, 1_000_000)  # FFmpeg's unit for the times of a whole file
CONTAINER_TAGS: Final = {"major_brand", "minor_version", "compatible_brands", "encoder"}  # not copied
STREAM_TAGS: Final = {"title", "language", "timecode", "creation_time"}
MAX_FRAME_PIXELS: Final = 8192 * 8192
MOVING_AVIF: Final = "avis"  # a still picture, then the film
NO_PICTURE_HINT: Final = "Choose a file with a video stream"


class VideoError(MVStylizerError):
    """Error raised when a file cannot be read or written as a video."""


class VideoSizeError(VideoError):
    """Error raised when frames have too many pixels to be decoded, or are too thin for the network."""


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video, as seen by a viewer.

    Attributes:
        path: The file.
        width: Pixels, after rotation.
        height: Pixels, after rotation.
        rate: Average frames per second.
        time_base: Seconds per unit of the frames' times.
        start: Time on the file's clock that counts as 0, in seconds: when picture or sound starts.
        duration: Seconds, or None if the file does not declare it.
        frame_count: Estimated number of frames, for progress; None if unknown.
        orientation: How stored pixels become upright.
        pixel_aspect: Width of a pixel over its height, after rotation.
        color: Color tags.
        bits: Bits per channel of the frames read from it: 8 or 10.
        light: Light levels of an HDR video.
        has_audio: Whether there is an audio stream.
        has_subtitles: Whether there is a subtitle stream.
        picture_metadata: Title, language, timecode and creation time of the video stream.
        metadata: Title, creation time and other tags of the file.
        is_excerpt: Whether it describes a part of the file, from `start`: what lies outside is not copied.
        field_order: ``tff`` or ``bff`` if the frames are interlaced, otherwise empty.
    """

    path: Path
    width: int
    height: int
    rate: Fraction
    time_base: Fraction
    start: Fraction
    duration: Fraction | None
    frame_count: int | None
    orientation: Orientation
    pixel_aspect: Fraction
    color: Color
    bits: int
    light: LightLevel
    has_audio: bool
    has_subtitles: bool
    picture_metadata: Mapping[str, str]
    metadata: Mapping[str, str]
    is_excerpt: bool = False
    field_order: str = ""

    @property
    def picture_bytes(self) -> int:
        """Bytes of a picture in 4:2:0."""
        return self.width * self.height * 3 // 2 * (2 if self.bits > 8 else 1)

    @property
    def rotation(self) -> int:
        """Clockwise rotation applied to the stored pixels, in degrees."""
        return self.orientation.rotation


def open_video(path: Path) -> InputContainer:
    """Open a video file.

    Raises:
        VideoError: It is missing or cannot be read as a video.
    """
    if not exists(path):
        raise VideoError(f"There is no file {path}", "Check the path")
    try:
        return open_input(path)
    except (av.FFmpegError, OSError) as error:
        hint = "Choose a video file, such as an MP4"
        if not path.is_file() and not path.is_dir():
            hint = "Save it as a video file first"
        raise VideoError(f"{path} cannot be read as a video ({error.strerror})", hint) from error


def find_stream(container: InputContainer, path: Path) -> VideoStream:
    """Return the first video stream that is not the cover picture of a music file.

    Raises:
        VideoError: There is none, or its frames are too large.
    """
    streams = list(container.streams.video)
    if container.metadata.get("major_brand") == MOVING_AVIF:
        streams.reverse()
    for stream in streams:
        if not stream.disposition & Disposition.attached_pic and stream.codec_context is not None:
            _check_size(stream, path)
            return stream
    raise VideoError(f"{path} has no video stream that can be decoded", NO_PICTURE_HINT)


def _check_size(stream: VideoStream, path: Path) -> None:
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > MAX_FRAME_PIXELS:
        raise VideoSizeError(
            f"{path} has frames of {width}×{height} pixels, more than"
            f" {MAX_FRAME_PIXELS // 1_000_000} megapixels",
            "Make it smaller first",
        )
    if width and height and is_too_thin(height, width):
        raise VideoSizeError(
            f"{path} has frames of {width}×{height} pixels, thinner than 1:{MAX_ASPECT}", "Crop them"
        )


def check_colors(name: str, frame: av.VideoFrame) -> None:
    """Check that the colors of a decoded frame are known here.

    Raises:
        VideoError: The matrix, transfer, primaries or pixel format is not; the message names it.
    """
    unknown = unknown_color(frame)
    if unknown is not None:
        raise VideoError(
            f"{name} has {unknown}, which is not supported",
            "Convert it first, for example to BT.709 with FFmpeg's zscale filter",
        )


def base_layer_warning(name: str, frame: av.VideoFrame) -> list[str]:
    """Return a warning if only the base layer of a decoded frame is used."""
    if not is_dolby_vision(frame):
        return []
    base = HDR_TRANSFERS.get(frame.color_trc, "SDR")
    return [f"{name} is Dolby Vision: only its {base} base layer is used"]


def describe_video(
    path: Path, container: InputContainer, stream: VideoStream, first: av.VideoFrame
) -> VideoInfo:
    """Return the properties of an open video.

    Args:
        path: The file.
        container: The open file.
        stream: Its video stream.
        first: The first decoded frame, which carries size, orientation and color tags.

    Raises:
        VideoError: See `check_colors`.
    """
    check_colors(path.name, first)
    orientation = orientation_of(first)
    width, height = first.width, first.height
    if orientation.transposed:
        width, height = height, width
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    duration = _seconds(stream.duration, stream.time_base) or _file_duration(container)
    time_base = stream.time_base or 1 / rate
    return VideoInfo(
        path=path,
        width=width,
        height=height,
        rate=rate,
        time_base=time_base,
        start=_in_units(start_of(container), time_base),
        duration=duration,
        frame_count=round(duration * rate) if duration else stream.frames or None,
        orientation=orientation,
        pixel_aspect=pixel_aspect_of(stream, orientation),
        color=Color.of(first),
        bits=bits_of(first),
        light=LightLevel.of(first),
        has_audio=bool(container.streams.audio),
        has_subtitles=bool(container.streams.subtitles),
        picture_metadata={
            key.lower(): text for key, text in stream.metadata.items() if key.lower() in STREAM_TAGS
        },
        metadata={key: text for key, text in container.metadata.items() if key.lower() not in CONTAINER_TAGS},
    )


def _in_units(start: Fraction, time_base: Fraction) -> Fraction:
    """Round a start down to a time that the pictures' clock has, so that sound moves as far as they do."""
    return start // time_base * time_base


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """Return how the pixels of a decoded frame become upright."""
    matrix = cast("Buffer | None", frame.side_data.get("DISPLAYMATRIX"))
    return Orientation.from_display_matrix(memoryview(matrix)) if matrix else Orientation()


def pixel_aspect_of(stream: VideoStream, orientation: Orientation) -> Fraction:
    """Return the width of a pixel over its height, after rotation."""
    aspect = stream.sample_aspect_ratio or Fraction(1)
    return 1 / aspect if orientation.transposed else aspect


def _file_duration(container: InputContainer) -> Fraction | None:
    """Return the declared duration without the late start, which Matroska's includes."""
    duration = _seconds(container.duration, AV_TIME_BASE)
    if duration is None or "matroska" not in container.format.name:
        return duration
    return max(duration - start_of(container), Fraction(0)) or None


def _seconds(units: int | None, unit: Fraction | None) -> Fraction | None:
    return None if units is None or unit is None else units * unit
