"""Encode pictures as H.264 packets with the times, size and color tags of the source."""

from __future__ import annotations

from typing import Final, cast

import av
from av.codec.context import Flags
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from device_runtime.media.color import ColorConverter
from device_runtime.media.deinterlace import TOP_FIRST
from device_runtime.media.planes import Picture, Planes
from device_runtime.media.video_info import VideoInfo

CODEC: Final = "libx264"
PRESET: Final = "superfast"
# Disabled by `superfast` but almost free: with it, files are as small at the same PSNR as with `veryfast`
# (within 5 % and 0.3 dB, or 1 dB where they are nearly lossless), in half the time.
LOOKAHEAD: Final = "mbtree=1:rc-lookahead=10"


class PictureEncoder:
    """Encodes the pictures of one video, or of a piece of it that can be decoded on its own.

    Even sizes are written as yuv420p. Odd sizes cannot be: 4:2:0 halves width and height, and H.264 crops it
    in steps of two. They are written as yuv444p (High 4:4:4 Predictive profile), which keeps the exact size;
    computers play it, some phones' hardware decoders do not.

    Args:
        like: The source, whose size, rate, times and color tags are copied.
        crf: x264's quality, 0 (lossless) to 51; 18 is visually lossless.
        preset: x264's speed, from ``ultrafast`` to ``veryslow``.
        codec: An x264 encoder that is not open yet, such as a stream's; None creates one.
    """

    def __init__(
        self,
        like: VideoInfo,
        *,
        crf: int = 18,
        preset: str = PRESET,
        codec: VideoCodecContext | None = None,
    ) -> None:
        self._like = like
        self._pixel_format = "yuv444p" if like.width % 2 or like.height % 2 else "yuv420p"
        self._colors = ColorConverter(like.color)
        self._shift = round(like.start / like.time_base)
        self._step = max(1, round(1 / (like.rate * like.time_base)))
        self._durations: dict[int, int] = {}
        self._codec = codec or VideoCodecContext.create(CODEC, "w")
        if codec is None:
            self._codec.flags |= Flags.global_header  # required by the containers
        self._codec.options = {"crf": str(crf), "preset": preset, "x264-params": LOOKAHEAD}
        self._describe(self._codec)

    def encode(self, picture: Picture, pts: int, duration: int = 0) -> list[Packet[VideoStream]]:
        """Encode one picture.

        Args:
            picture: uint8 RGB (H, W, 3), or planes, of the source's size.
            pts: When it is shown, in units of the source's time base; increasing.
            duration: How long, in the same units; 0 = until the next frame (the last one: 1 / rate).

        Returns:
            Packets in decoding order, mostly of earlier pictures.

        Raises:
            FFmpegError: x264 fails.
        """
        if picture.shape != (self._like.height, self._like.width, 3):
            raise ValueError(f"frame {picture.shape} in a video of {self._like.width}×{self._like.height}")
        if isinstance(picture, Planes):
            frame = picture.frame()
        else:
            frame = self._colors.from_rgb(picture, self._pixel_format)
        frame.pts = pts - self._shift
        frame.time_base = self._like.time_base
        self._durations[frame.pts] = duration or self._step
        return self._encode(frame)

    def finish(self) -> list[Packet[VideoStream]]:
        """Return the remaining packets and end the encoder."""
        return self._encode(None)

    def _encode(self, frame: av.VideoFrame | None) -> list[Packet[VideoStream]]:
        packets = self._codec.encode(frame)
        for packet in packets:
            # x264 drops durations; the last frame of a variable-rate video needs its own.
            packet.duration = self._durations.pop(cast("int", packet.pts), self._step)
        return packets

    def _describe(self, codec: VideoCodecContext) -> None:
        codec.width, codec.height = self._like.width, self._like.height
        codec.pix_fmt = self._pixel_format
        codec.framerate = self._like.rate
        codec.time_base = self._like.time_base
        codec.sample_aspect_ratio = self._like.pixel_aspect
        color = self._like.color
        codec.colorspace, codec.color_range = color.matrix, color.range
        codec.color_primaries, codec.color_trc = color.primaries, color.transfer
        if self._like.field_order and "x264-params" in codec.options:
            codec.flags |= Flags.interlaced_dct
            codec.field_order = 2 if self._like.field_order == TOP_FIRST else 3  # AVFieldOrder: TT, BB
            parameters = f"{codec.options['x264-params']}:{self._like.field_order}=1"
            codec.options = {**codec.options, "x264-params": parameters}
