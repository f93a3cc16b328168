"""Options of a run: everything about the result except the files and the stylizer.

Usage:
    options = StylizeOptions("every:15", interpolation="warp", strength=0.8)
    stylize_video(source, style, out, options=options, stylizer=stylizer, bundle=bundle)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from device_runtime.kernels import KeyFrameScore
from device_runtime.key_frames.policy import MAX_INTERVAL, KeyFrameSelector, check_policy, parse_policy
from device_runtime.media.deinterlace import DEINTERLACE, Deinterlace
from device_runtime.media.encoding import Encoding
from device_runtime.media.excerpt import ExcerptReader, Span
from device_runtime.media.photo import MAX_PIXELS
from mvstylizer.bundle import Bundle
from mvstylizer.stylizer import Match, Reply

Interpolation = Literal["warp", "transfer"]
FlowInit = Literal["previous", "codec"]
Protect = Literal["none", "skin"]

# Moving pixels needs pixels, moving maps needs maps.
DEFAULT_EDGE_OUTPUT: Final[dict[Interpolation, Reply]] = {"warp": "image", "transfer": "map"}
FLOW_INITS: Final = ("previous", "codec")
PROTECT: Final = ("none", "skin")

TEMPORAL_SMOOTHING_S: Final = 1.0


@dataclass(frozen=True)
class StylizeOptions:
    """Options that affect the result. Validated on construction.

    Attributes:
        policy: Key-frame policy: ``codec``, ``content``, ``every:N`` or ``adaptive:Q`` (see `parse_policy`).
        interpolation: How intermediate frames are made: ``warp`` moves pixels of the stylized key frames,
            ``transfer`` moves their maps.
        edge_output: What the edge returns, ``image`` or ``map``. None selects what the interpolation needs;
            ``transfer`` requires ``map``.
        strength: 0 (the original) to 1 (the full style).
        match: How the style is followed: 0 its look, 1 its palette, or ``auto``; see `Match`.
        protect: ``skin`` changes what has the colors of skin less than half as much; see
            `device_runtime.stylizers.skin`. It requires ``map`` output.
        max_interval: Maximum number of frames from one key frame to the next, at least 1.
        two_sided: Interpolate from the key frames on both sides. False uses the previous one only, as in the
            paper.
        temporal_smoothing_s: Time constant in seconds for averaging the maps of a scene's key frames, at
            least 0; see `TemporalSmoothing`. 0 disables it, and so do one-sided runs and ``image`` output.
        flow_init: Initial value of the motion search: ``previous``, the flow of the previous frame, or
            ``codec``, that flow plus the codec's motion vectors.
        codec: ``auto``, ``h264``, ``hevc``, or a hardware encoder's name in FFmpeg; see `Encoding`.
        preset: The encoder's speed; None is ``superfast``, or a hardware encoder's default.
        crf: The encoder's constant quality, 0 (lossless) to 51; None is 18 for H.264 and 20 for HEVC.
        start: Where the part of the video to stylize begins: a time from the first frame (``12.5``, ``1:30``)
            or a frame number, from 0 (``120f``). None = at the first frame.
        end: The time or frame number at which it ends; that frame is left out. None = after the last frame.
        sdr: Make an SDR result (BT.709, 8 bits) of an HDR video; otherwise it stays HDR.
        deinterlace: ``auto`` makes interlaced frames progressive, ``off`` keeps their fields and flag.
        max_pixels: A larger photo is refused before memory is spent on it.
        input_lut: Path of a .cube file that turns the camera's log picture into one for a display. It is
            applied to videos and photos before everything else.

    Raises:
        ValueError: An option is out of range (KeyFramePolicyError for `policy`, SpanError for `start` and
            `end`).
    """

    policy: str = "codec"
    interpolation: Interpolation = "transfer"
    edge_output: Reply | None = None
    strength: float = 1.0
    match: Match = "auto"
    protect: Protect = "none"
    max_interval: int = MAX_INTERVAL
    two_sided: bool = True
    temporal_smoothing_s: float = TEMPORAL_SMOOTHING_S
    flow_init: FlowInit = "previous"
    codec: str = "auto"
    preset: str | None = None
    crf: int | None = None
    start: str | None = None
    end: str | None = None
    sdr: bool = False
    deinterlace: Deinterlace = "auto"
    max_pixels: int = MAX_PIXELS
    input_lut: str | None = None

    def __post_init__(self) -> None:
        self._check_choices()
        if not 0 <= self.strength <= 1:
            raise ValueError(f"strength {self.strength} is not between 0 and 1")
        if self.match != "auto" and not 0 <= self.match <= 1:
            raise ValueError(f"match {self.match} is neither auto nor between 0 and 1")
        if self.max_interval < 1:
            raise ValueError(f"max_interval {self.max_interval} is below 1")
        if not 0 <= self.temporal_smoothing_s < math.inf:
            raise ValueError(f"temporal_smoothing_s {self.temporal_smoothing_s} is negative or not finite")
        Encoding(self.codec, self.preset, self.crf)
        if self.max_pixels < 1:
            raise ValueError(f"max_pixels {self.max_pixels} is below 1")
        check_policy(self.policy, max_interval=self.max_interval)
        Span.parse(self.start, self.end)

    def _check_choices(self) -> None:
        if self.flow_init not in FLOW_INITS:
            raise ValueError(f"flow_init {self.flow_init!r} is not one of {', '.join(FLOW_INITS)}")
        if self.deinterlace not in DEINTERLACE:
            raise ValueError(f"deinterlace {self.deinterlace!r} is not one of {', '.join(DEINTERLACE)}")
        if self.interpolation not in DEFAULT_EDGE_OUTPUT:
            choices = ", ".join(DEFAULT_EDGE_OUTPUT)
            raise ValueError(f"interpolation {self.interpolation!r} is not one of {choices}")
        if self.edge_output not in (None, "image", "map"):
            raise ValueError(f"edge_output {self.edge_output!r} is not one of image, map")
        if self.protect not in PROTECT:
            raise ValueError(f"protect {self.protect!r} is not one of {', '.join(PROTECT)}")
        if self.protect != "none" and self.edge_output == "image":
            raise ValueError(f"protect {self.protect!r} needs edge_output 'map', not 'image'")
        if self.interpolation == "transfer" and self.edge_output == "image":
            raise ValueError("interpolation 'transfer' needs edge_output 'map', not 'image'")

    def check_live(self) -> None:
        """Check that the options suit a live run, which moves maps and does not decode motion vectors.

        Raises:
            ValueError: Warp, image output, the codec's motion vectors or a part of the video are selected.
        """
        if not self.span.is_whole:
            raise ValueError("live runs have neither a start nor an end")
        if self.input_lut:
            raise ValueError("live runs do not support input_lut")
        if self.requested_output != "map" or self.interpolation == "warp" or self.flow_init == "codec":
            raise ValueError("live runs support neither warp interpolation nor flow_init 'codec'")

    @property
    def encoding(self) -> Encoding:
        """Encoder, speed and quality."""
        return Encoding(self.codec, self.preset, self.crf)

    def reader(self, source: Path, *, codec_motion: bool | None = None) -> ExcerptReader:
        """Open the part of a video that is stylized.

        Args:
            source: The video.
            codec_motion: Provide the codec's motion vectors; None = if `flow_init` uses them.

        Raises:
            VideoError: See `ExcerptReader`.
        """
        uses_motion = self.flow_init == "codec" if codec_motion is None else codec_motion
        return ExcerptReader(
            source,
            self.span,
            codec_motion=uses_motion,
            sdr=self.sdr,
            deinterlace=self.deinterlace,
            input_lut=self.input_lut,
        )

    @property
    def span(self) -> Span:
        """The part of the video from `start` to `end`."""
        return Span.parse(self.start, self.end)

    @property
    def requested_output(self) -> Reply:
        """What is requested from the edge; by default what the interpolation and `protect` need."""
        default = "map" if self.protect != "none" else DEFAULT_EDGE_OUTPUT[self.interpolation]
        return self.edge_output or default

    def selector(self, bundle: Bundle) -> KeyFrameSelector:
        """Return a new key-frame selector for one video.

        Args:
            bundle: Provides the key-frame kernel.

        Raises:
            MVStylizerError: The kernel cannot be loaded.
        """
        policy = parse_policy(
            self.policy, lambda: KeyFrameScore(bundle.file("key_frame")), max_interval=self.max_interval
        )
        return KeyFrameSelector(policy, max_interval=self.max_interval)


DEFAULT_OPTIONS: Final = StylizeOptions()
