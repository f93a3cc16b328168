"""Encode pictures as H.264 or HEVC packets with the times, size and color tags of the source."""

from __future__ import annotations

from collections import deque
from typing import Final, cast

import av
from av.codec.context import Flags
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from device_runtime.media.color import HDR_TRANSFERS, Color, ColorConverter, reformatted
from device_runtime.media.deinterlace import TOP_FIRST
from device_runtime.media.encoding import (
    DEFAULT_ENCODING,
    SOFTWARE,
    X265_REORDERS,
    Encoder,
    EncoderError,
    Encoding,
)
from device_runtime.media.light_level import LightLevel
from device_runtime.media.planes import Picture, Planes
from device_runtime.media.video_info import VideoInfo

X264_PARAMS: Final = "x264-params"
X265: Final = SOFTWARE["hevc"]
HVC1: Final = "hvc1"  # HEVC in MP4 as Apple's players expect it; FFmpeg writes hev1 otherwise


class PictureEncoder:
    """Encodes the pictures of one video, or of a piece of it that can be decoded on its own.

    Even sizes are written in 4:2:0. Odd sizes cannot be: 4:2:0 halves width and height, and the codecs crop
    it in steps of two. They are written in 4:4:4, which keeps the exact size; computers play it, some phones'
    hardware decoders do not.

    Args:
        like: The source, whose size, rate, times and color tags are copied.
        encoding: Encoder, speed and quality.
        codec: An encoder of this kind that is not open yet, such as a stream's; None creates one.

    Raises:
        EncoderError: The encoder does not exist, cannot be opened, or cannot hold HDR.
    """

    def __init__(
        self,
        like: VideoInfo,
        *,
        encoding: Encoding = DEFAULT_ENCODING,
        codec: VideoCodecContext | None = None,
    ) -> None:
        self._like = like
        self._encoder = encoder_for(like, encoding)
        self._colors = ColorConverter(like.color)
        self._shift = round(like.start / like.time_base)
        self._step = max(1, round(1 / (like.rate * like.time_base)))
        self._durations: dict[int, int] = {}
        self._early = X265_REORDERS  # packets that are decoded before the first picture is shown
        self._times: deque[int] = deque()  # of the pictures whose times may become decoding times
        made = codec or VideoCodecContext.create(self._encoder.name, "w")
        self._codec = cast("VideoCodecContext", made)
        if codec is None:
            self._codec.flags |= Flags.global_header  # required by the containers
        self._codec.options = self._encoder.options
        self._describe(self._codec)
        open_encoder(self._codec, self._encoder.name)

    def encode(self, picture: Picture, pts: int, duration: int = 0) -> list[Packet[VideoStream]]:
        """Encode one picture.

        Args:
            picture: uint8 RGB (H, W, 3), or planes, of the source's size.
            pts: When it is shown, in units of the source's time base; increasing.
            duration: How long, in the same units; 0 = until the next frame (the last one: 1 / rate).

        Returns:
            Packets in decoding order, mostly of earlier pictures.

        Raises:
            FFmpegError: The encoder fails.
        """
        if picture.shape != (self._like.height, self._like.width, 3):
            raise ValueError(f"frame {picture.shape} in a video of {self._like.width}×{self._like.height}")
        if isinstance(picture, Planes):
            frame = picture.frame()
        else:
            frame = self._colors.from_rgb(picture, _planar(self._encoder.pixel_format))
        if frame.format.name != self._encoder.pixel_format:
            frame = reformatted(frame, self._encoder.pixel_format)
        frame.pts = pts - self._shift
        frame.time_base = self._like.time_base
        self._durations[frame.pts] = duration or self._step
        self._times.append(frame.pts)
        return self._encode(frame)

    def finish(self) -> list[Packet[VideoStream]]:
        """Return the remaining packets and end the encoder."""
        return self._encode(None)

    def _encode(self, frame: av.VideoFrame | None) -> list[Packet[VideoStream]]:
        packets = self._codec.encode(frame)
        for packet in packets:
            # Encoders drop durations; the last frame of a variable-rate video needs its own.
            packet.duration = self._durations.pop(cast("int", packet.pts), self._step)
            if self._encoder.name == X265:
                packet.dts = self._decoding_time()
        return packets

    def _decoding_time(self) -> int:
        """Return the decoding time of the next packet.

        x265's own is undefined in a video that is shorter than its delay. Here a packet takes the time of the
        picture that is shown as many pictures earlier as the encoder reorders, which is never after its own.
        """
        if self._early:
            self._early -= 1
            return self._times[0] - self._early - 1
        return self._times.popleft()

    def _describe(self, codec: VideoCodecContext) -> None:
        codec.width, codec.height = self._like.width, self._like.height
        codec.pix_fmt = self._encoder.pixel_format
        codec.framerate = self._like.rate
        codec.time_base = self._like.time_base
        codec.sample_aspect_ratio = self._like.pixel_aspect
        color = self._like.color
        codec.colorspace, codec.color_range = color.matrix, color.range
        codec.color_primaries, codec.color_trc = color.primaries, color.transfer
        if self._like.field_order and X264_PARAMS in codec.options:
            codec.flags |= Flags.interlaced_dct
            codec.field_order = 2 if self._like.field_order == TOP_FIRST else 3  # AVFieldOrder: TT, BB
            parameters = f"{codec.options[X264_PARAMS]}:{self._like.field_order}=1"
            codec.options = {**codec.options, X264_PARAMS: parameters}
        if self._encoder.is_hevc:
            codec.codec_tag = HVC1


def encoder_for(like: VideoInfo, encoding: Encoding) -> Encoder:
    """Return the encoder for the pictures of a video.

    Raises:
        EncoderError: FFmpeg has no such encoder, or it cannot hold the pictures.
    """
    encoder = encoding.encoder(like.bits, odd=bool(like.width % 2 or like.height % 2))
    return hdr_encoder(encoder, like.color, like.light)


def hdr_encoder(encoder: Encoder, color: Color, light: LightLevel) -> Encoder:
    """Return an encoder with the light levels of HDR; of SDR it is the same.

    Raises:
        EncoderError: It has too few bits for HDR.
    """
    if color.is_hdr and encoder.bits == 8:
        raise EncoderError(
            f"{encoder.name} with 8 bits cannot hold HDR ({HDR_TRANSFERS[color.transfer]})",
            "Use --codec hevc, or --sdr for an SDR result",
        )
    return encoder.with_light(light)


def open_encoder(codec: VideoCodecContext, name: str) -> None:
    """Open an encoder.

    Raises:
        EncoderError: It cannot be opened, for example because the machine lacks the hardware.
    """
    try:
        codec.open()
    except (av.FFmpegError, OSError) as error:
        raise EncoderError(
            f"The encoder {name} cannot be opened here ({error.strerror})",
            "Use --codec h264 or hevc, which need no hardware, or check --preset",
        ) from error


def _planar(pixel_format: str) -> str:
    """Return what `ColorConverter.from_rgb` makes for an encoder that takes `pixel_format`."""
    return "yuv444p" if "444" in pixel_format else "yuv420p"
