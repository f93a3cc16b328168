"""What a run would do and how long it would take, without writing anything."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from device_runtime.frames import open_pictures
from device_runtime.media.encoder import PictureEncoder
from device_runtime.media.reader import VideoReader
from device_runtime.options import StylizeOptions
from device_runtime.report import Stopwatch
from device_runtime.stylizers.style_mix import StyleMix, StylePhotos
from mvstylizer.bundle import Bundle
from mvstylizer.stylizer import Stylizer

CALIBRATION_FRAMES: Final = 24
BY_KEY_FRAME: Final = ("edge",)  # the other parts take their time by frame


@dataclass(frozen=True)
class Plan:
    """What stylizing one video would come to.

    Attributes:
        frames: Frames to read and write.
        key_frames: How many of them the edge would stylize.
        key_frame_places: Which, from 0.
        cuts: Where scenes begin, apart from the first; each of them is a key frame.
        estimated_seconds: By part, and ``total``, in which the parts overlap as they did in the calibration.
        calibration_frames: How many frames the estimate rests on.
        interpolation: ``warp`` or ``transfer``.
        reply: What the edge would send back: ``image`` or ``map``.
        width: Pixels.
        height: Pixels.
        warnings: As in the report of a run.
    """

    frames: int
    key_frames: int
    key_frame_places: list[int]
    cuts: list[int]
    estimated_seconds: dict[str, float]
    calibration_frames: int
    interpolation: str
    reply: str
    width: int
    height: int
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, fit for JSON."""
        return asdict(self)

    def summary(self) -> str:
        """Return the plan in a few lines for people."""
        estimate = self.estimated_seconds
        parts = "  ".join(f"{part} {seconds:.1f}" for part, seconds in estimate.items() if part != "total")
        return (
            f"{self.frames} frames of {self.width}×{self.height}, {len(self.cuts)} scene cuts: "
            f"{self.key_frames} key, {self.frames - self.key_frames} intermediate ({self.interpolation})\n"
            f"About {estimate['total']:.0f} s, by the first {self.calibration_frames} frames  [{parts}]"
        )


@dataclass(frozen=True)
class _Calibration:
    """What the first frames of a video took."""

    frames: int
    key_frames: int
    seconds: dict[str, float]

    def estimate(self, frames: int, key_frames: int) -> dict[str, float]:
        """Scale the time up to a whole video."""
        scales = {part: frames / self.frames for part in self.seconds}
        scales |= dict.fromkeys(BY_KEY_FRAME, key_frames / self.key_frames)
        parts = {part: each * scales[part] for part, each in self.seconds.items() if part != "total"}
        # The first frames wait for the first reply more than later ones do: this errs on the long side.
        overlap = self.seconds["total"] / sum(self.seconds[part] for part in parts)
        total = max(*parts.values(), overlap * sum(parts.values()))
        return {part: round(value, 3) for part, value in {**parts, "total": total}.items()}


def plan_video(
    source: Path,
    style_photo: StylePhotos,
    recipe: StylizeOptions,
    *,
    stylizer: Stylizer,
    bundle: Bundle,
    crf: int = 18,
) -> Plan:
    """Find the key frames of a video and estimate the time of a run from its first frames.

    Args:
        source: The video; read once as a whole, and its first frames once more.
        style_photo: The photo whose colours it would take on, or several and their weights.
        recipe: How it would be stylized.
        stylizer: An edge, or this machine; asked for the key frames among the first frames.
        bundle: Holds the TFLite kernels.
        crf: x264's quality.

    Raises:
        KeyFramePolicyError: The recipe's policy is not understood.
        VideoError: The video cannot be read.
        PhotoError: The style is no photo.
        MVStylizerError: The stylizer or a kernel fails.
    """
    calibration = _calibrate(source, StyleMix.read(style_photo), recipe, stylizer, bundle, crf)
    selector = recipe.selector(bundle)
    places, cuts, frames = [], [], 0
    with VideoReader(source) as reader:
        for frame in reader:
            decision = selector.decide(frame)
            places += [frame.index] * decision.is_key
            cuts += [frame.index] * decision.is_cut
            frames += 1
    return Plan(
        frames=frames,
        key_frames=len(places),
        key_frame_places=places,
        cuts=cuts[1:],
        estimated_seconds=calibration.estimate(frames, len(places)),
        calibration_frames=calibration.frames,
        interpolation=recipe.interpolation,
        reply=recipe.asked_reply,
        width=reader.info.width,
        height=reader.info.height,
        warnings=reader.warnings,
    )


def _calibrate(
    source: Path, style: StyleMix, recipe: StylizeOptions, stylizer: Stylizer, bundle: Bundle, crf: int
) -> _Calibration:
    """Stylize the first frames and throw the result away."""
    watch = Stopwatch()
    with (
        VideoReader(source, codec_motion=recipe.flow_start == "codec") as reader,
        open_pictures(
            islice(reader, CALIBRATION_FRAMES), style, recipe, stylizer=stylizer, bundle=bundle, watch=watch
        ) as pictures,
    ):
        encoder = PictureEncoder(reader.info, crf=crf)
        frames = 0
        for frame, picture, *_ in pictures:
            with watch.measure("encode"):
                encoder.encode(picture, frame.pts, frame.duration)
            frames += 1
        with watch.measure("encode"):
            encoder.finish()
    return _Calibration(frames, len(pictures.key_frames), watch.seconds())
