"""Which encoder writes a video, and with which settings: x264, x265, or hardware that FFmpeg can use."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

import av

from device_runtime.media.light_level import LightLevel
from mvstylizer.errors import MVStylizerError

MAX_CRF: Final = 51
PRESETS: Final = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
)
SOFTWARE: Final = {"h264": "libx264", "hevc": "libx265"}
DEFAULT_CRF: Final = {"libx264": 18, "libx265": 20}  # visually lossless
DEFAULT_PRESET: Final = {"libx264": "superfast", "libx265": "superfast"}
LIVE_CRF: Final = {"libx264": 20, "libx265": 22}
LIVE_PRESET: Final = {"libx264": "veryfast", "libx265": "ultrafast"}
# Disabled by `superfast` but almost free: with it, files are as small at the same PSNR as with `veryfast`
# (within 5 % and 0.3 dB, or 1 dB where they are nearly lossless), in half the time.
LOOKAHEAD: Final = "mbtree=1:rc-lookahead=10"
# x265 keeps every picture of its look-ahead, reordering and threads: these bounds halve its memory at 4K.
X265_MEMORY: Final = "rc-lookahead=5:bframes=2:frame-threads=1"
X265_REORDERS: Final = 2  # pictures at most, with that many B frames
# The rate control for a constant quality, by the last part of a hardware encoder's name.
HARDWARE: Final[dict[str, Callable[[str], dict[str, str]]]] = {
    "nvenc": lambda quality: {"rc": "vbr", "b": "0", "cq": quality},
    "qsv": lambda quality: {"global_quality": quality},
    "amf": lambda quality: {"rc": "cqp", "qp_i": quality, "qp_p": quality},
    "vaapi": lambda quality: {"rc_mode": "CQP", "qp": quality},
}
# In order of preference; only planes in the machine's memory, which every picture here is.
PIXEL_FORMATS: Final = {8: ("yuv420p", "nv12"), 10: ("yuv420p10le", "p010le")}
ODD_FORMATS: Final = {8: ("yuv444p",), 10: ("yuv444p10le",)}  # 4:2:0 is cropped in steps of two
NAMES_HINT: Final = "Use auto, h264, hevc, or an encoder of FFmpeg such as h264_nvenc"


class EncoderError(MVStylizerError):
    """Error raised when an encoder does not exist, cannot be opened here, or cannot hold the video."""


class Encoder(NamedTuple):
    """An encoder of FFmpeg.

    Attributes:
        name: FFmpeg's name.
        pixel_format: FFmpeg's name of what it takes.
        options: FFmpeg's options.
    """

    name: str
    pixel_format: str
    options: dict[str, str]

    @property
    def bits(self) -> int:
        """Bits per channel, 8 or 10."""
        return 10 if "10" in self.pixel_format else 8

    def with_light(self, light: LightLevel) -> Encoder:
        """Return it with the light levels of an HDR video, which only x265 writes."""
        if self.name != SOFTWARE["hevc"] or not light.parameters:
            return self
        parameters = ":".join([self.options["x265-params"], *light.parameters])
        return self._replace(options=self.options | {"x265-params": parameters})

    @property
    def is_hevc(self) -> bool:
        """Whether it writes HEVC."""
        return self.name == SOFTWARE["hevc"] or self.name.startswith("hevc_")


@dataclass(frozen=True)
class Encoding:
    """How a video is encoded. Validated on construction.

    Attributes:
        codec: ``h264`` (x264), ``hevc`` (x265), ``auto`` (H.264 for 8 bits, HEVC for more), or a hardware
            encoder's name in FFmpeg, such as ``h264_nvenc``.
        preset: The encoder's speed: from ``ultrafast`` to ``placebo`` for x264 and x265, another encoder's
            own names for that. None: ``superfast``, or another encoder's default.
        crf: Constant quality, 0 (lossless) to 51. None: 18 for H.264 and 20 for HEVC, which look alike.

    Raises:
        ValueError: A value is none of these.
    """

    codec: str = "auto"
    preset: str | None = None
    crf: int | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"auto|h264|hevc|(h264|hevc)_[a-z0-9]+", self.codec):
            raise ValueError(f"codec {self.codec!r} is not auto, h264, hevc or a hardware encoder of FFmpeg")
        if self.preset is not None and not self._is_hardware and self.preset not in PRESETS:
            raise ValueError(f"preset {self.preset!r} is not one of {', '.join(PRESETS)}")
        if self.crf is not None and not 0 <= self.crf <= MAX_CRF:
            raise ValueError(f"crf {self.crf} is not between 0 and {MAX_CRF}")

    def encoder(self, bits: int, *, odd: bool = False, live: bool = False) -> Encoder:
        """Return the encoder for a video.

        Args:
            bits: Bits per channel of the pictures, 8 or 10.
            odd: Whether their width or height is odd.
            live: Without look-ahead, for the shortest delay.

        Returns:
            One that keeps the bits, but for H.264 in software, which has 8: players lack the 10-bit profile.

        Raises:
            EncoderError: FFmpeg has no such encoder, or it takes no planes of these bits.
        """
        name = SOFTWARE.get(self.codec, self.codec)
        if self.codec == "auto":
            name = SOFTWARE["h264" if bits == 8 else "hevc"]
        bits = 8 if name == "libx264" else bits
        offered = _pixel_formats(name)
        taken = [
            each for each in (ODD_FORMATS if odd else PIXEL_FORMATS)[bits] if each in offered or not offered
        ]
        if not taken:
            raise EncoderError(
                f"The encoder {name} takes no pictures of {bits} bits{' and odd size' if odd else ''}",
                "Use --codec auto, or another encoder",
            )
        return Encoder(name, taken[0], self._settings(name, live))

    @property
    def _is_hardware(self) -> bool:
        return "_" in self.codec

    def _settings(self, name: str, live: bool) -> dict[str, str]:
        crf = self.crf if self.crf is not None else (LIVE_CRF if live else DEFAULT_CRF).get(name)
        preset = self.preset or (LIVE_PRESET if live else DEFAULT_PRESET).get(name)
        options = {} if preset is None else {"preset": preset}
        if name in SOFTWARE.values():
            return options | {"crf": str(crf)} | _parameters(name, live)
        if crf is None:
            return options
        quality = HARDWARE.get(name.partition("_")[2])
        if quality is None:
            raise EncoderError(f"The encoder {name} has no constant quality", "Omit --crf")
        return options | quality(str(crf))


DEFAULT_ENCODING: Final = Encoding()


def _parameters(name: str, live: bool) -> dict[str, str]:
    """Return what is particular to x264 and x265."""
    tune = {"tune": "zerolatency"} if live else {}
    if name == SOFTWARE["h264"]:
        return tune or {"x264-params": LOOKAHEAD}
    return tune | {"x265-params": ":".join(["log-level=none", *([] if live else [X265_MEMORY])])}


def _pixel_formats(name: str) -> set[str]:
    """Return what an encoder takes; nothing if it finds out only when opened."""
    try:
        codec = av.Codec(name, "w")
    except (av.codec.codec.UnknownCodecError, ValueError) as error:
        raise EncoderError(f"This FFmpeg has no encoder {name}", NAMES_HINT) from error
    return {each.name for each in codec.video_formats or ()}
