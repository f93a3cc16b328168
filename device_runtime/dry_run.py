"""Dry run: the plan and an estimate of the time, without writing any file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from device_runtime.frames import open_pictures
from device_runtime.media.encoder import PictureEncoder
from device_runtime.media.excerpt import ExcerptReader
from device_runtime.options import DEFAULT_OPTIONS, StylizeOptions
from device_runtime.report import Stopwatch, versioned
from device_runtime.stylizers.style_mix import StyleMix, StylePhotos
from mvstylizer.bundle import Bundle
from mvstylizer.stylizer import Stylizer

CALIBRATION_FRAMES: Final = 24
BY_KEY_FRAME: Final = ("edge",)  # scales with the number of key frames; the other stages with all frames


@dataclass(frozen=True)
class Plan:
    """Plan for stylizing one video.

    Attributes:
        frames: Number of frames to read and write.
        key_frames: Number of frames that would go to the edge.
        key_frame_indices: Their indices, from 0.
        cuts: Indices of the first frame of each scene but the first. All of them are key frames.
        estimated_seconds: By stage, and ``total``, assuming the stages overlap as in the calibration.
        calibration_frames: Number of frames that the estimate is based on.
        interpolation: ``warp`` or ``transfer``.
        edge_output: What the edge would return: ``image`` or ``map``.
        width: Pixels.
        height: Pixels.
        warnings: As in the report of a run.
    """

    frames: int
    key_frames: int
    key_frame_indices: list[int]
    cuts: list[int]
    estimated_seconds: dict[str, float]
    calibration_frames: int
    interpolation: str
    edge_output: str
    width: int
    height: int
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields and ``schema_version`` as JSON-serializable values."""
        return versioned(asdict(self))

    def summary(self) -> str:
        """Return the plan as a few lines of text."""
        estimate = self.estimated_seconds
        parts = "  ".join(f"{part} {seconds:.1f}" for part, seconds in estimate.items() if part != "total")
        return (
            f"{self.frames} frames of {self.width}×{self.height}, {len(self.cuts)} scene cuts: "
            f"{self.key_frames} key, {self.frames - self.key_frames} intermediate ({self.interpolation})\n"
            f"About {estimate['total']:.0f} s, estimated from the first {self.calibration_frames} frames"
            f"  [{parts}]"
        )


@dataclass(frozen=True)
class _Calibration:
    """Time taken by the first frames of a video."""

    frames: int
    key_frames: int
    seconds: dict[str, float]

    def estimate(self, frames: int, key_frames: int) -> dict[str, float]:
        """Scale the time to a whole video."""
        scales = {part: frames / self.frames for part in self.seconds}
        scales |= dict.fromkeys(BY_KEY_FRAME, key_frames / self.key_frames)
        parts = {part: each * scales[part] for part, each in self.seconds.items() if part != "total"}
        # The first frames wait longer for a reply than later ones do, so this overestimates.
        overlap = self.seconds["total"] / sum(self.seconds[part] for part in parts)
        total = max(*parts.values(), overlap * sum(parts.values()))
        return {part: round(value, 3) for part, value in {**parts, "total": total}.items()}


def plan_video(
    source: Path,
    style_photo: StylePhotos,
    *,
    options: StylizeOptions = DEFAULT_OPTIONS,
    stylizer: Stylizer,
    bundle: Bundle,
) -> Plan:
    """Find the key frames of a video and estimate the duration of a run from its first frames.

    Args:
        source: The video. Read once completely, and its first frames a second time.
        style_photo: The style photo, or several with weights.
        options: Options of the run.
        stylizer: Stylizes the key frames among the first frames.
        bundle: Provides the TFLite kernels.

    Raises:
        VideoError: The video cannot be read, or ends before `options.start`.
        PhotoError: A style photo cannot be read.
        MVStylizerError: The stylizer or a kernel fails.
    """
    calibration = _calibrate(source, StyleMix.read(style_photo, options.match), options, stylizer, bundle)
    selector = options.selector(bundle)
    indices, cuts, frames = [], [], 0
    with ExcerptReader(source, options.span, input_lut=options.input_lut) as reader:
        for frame in reader:
            decision = selector.decide(frame)
            indices += [frame.index] * decision.is_key
            cuts += [frame.index] * decision.is_cut
            frames += 1
    return Plan(
        frames=frames,
        key_frames=len(indices),
        key_frame_indices=indices,
        cuts=cuts[1:],
        estimated_seconds=calibration.estimate(frames, len(indices)),
        calibration_frames=calibration.frames,
        interpolation=options.interpolation,
        edge_output=options.requested_output,
        width=reader.info.width,
        height=reader.info.height,
        warnings=reader.warnings,
    )


def _calibrate(
    source: Path, style: StyleMix, options: StylizeOptions, stylizer: Stylizer, bundle: Bundle
) -> _Calibration:
    """Stylize the first frames and discard the result."""
    watch = Stopwatch()
    with (
        ExcerptReader(
            source, options.span, codec_motion=options.flow_init == "codec", input_lut=options.input_lut
        ) as reader,
        open_pictures(
            islice(reader, CALIBRATION_FRAMES), style, options, stylizer=stylizer, bundle=bundle, watch=watch
        ) as pictures,
    ):
        encoder = PictureEncoder(reader.info, crf=options.crf)
        frames = 0
        for frame, picture, *_ in pictures:
            with watch.measure("encode"):
                encoder.encode(picture, frame.pts, frame.duration)
            frames += 1
        with watch.measure("encode"):
            encoder.finish()
    return _Calibration(frames, len(pictures.key_frames), watch.seconds())
