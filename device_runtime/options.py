"""How a video is to be stylized: everything but the files and the machines."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from device_runtime.kernels import KeyFrameScore
from device_runtime.key_frames.policy import MAX_INTERVAL, KeyFrameSelector, parse_policy
from mvstylizer.bundle import Bundle
from mvstylizer.stylizer import Reply

Interpolation = Literal["warp", "transfer"]
FlowStart = Literal["before", "codec"]

# What the edge sends back unless told otherwise: moving pixels needs pixels, moving maps needs maps.
USUAL_REPLY: Final[dict[Interpolation, Reply]] = {"warp": "image", "transfer": "map"}

STEADY_S: Final = 1.0


@dataclass(frozen=True)
class StylizeOptions:
    """The choices that make a difference to the pictures.

    Attributes:
        policy: Key frames: ``codec``, ``content``, ``every:N`` or ``adaptive:Q`` (see `parse_policy`).
        interpolation: How the frames between are made.
        reply: ``image`` or ``map``; None takes what the interpolation needs. ``transfer`` needs ``map``.
        strength: 0 (the original) to 1 (the full style).
        max_interval: At most so many frames from one key frame to the next.
        two_sided: Use the key frames before and behind; False only the one before, as the paper does.
        steady_s: Seconds over which maps are averaged from key frame to key frame of a scene; see
            `TemporalSmoothing`. 0, one-sided or with images: not at all.
        flow_start: Where the search for motion starts: ``before``, the flow of the frame before; ``codec``,
            that and the codec's motion vectors.

    Raises:
        ValueError: `interpolation`, `reply`, `strength`, `steady_s` or `flow_start` is out of range.
    """

    policy: str = "codec"
    interpolation: Interpolation = "transfer"
    reply: Reply | None = None
    strength: float = 1.0
    max_interval: int = MAX_INTERVAL
    two_sided: bool = True
    steady_s: float = STEADY_S
    flow_start: FlowStart = "before"

    def __post_init__(self) -> None:
        if self.flow_start not in ("before", "codec"):
            raise ValueError(f"flow_start {self.flow_start!r} is not one of before, codec")
        if self.interpolation not in USUAL_REPLY:
            raise ValueError(f"interpolation {self.interpolation!r} is not one of {', '.join(USUAL_REPLY)}")
        if not 0 <= self.strength <= 1:
            raise ValueError(f"strength {self.strength} is not from 0 to 1")
        if not 0 <= self.steady_s < math.inf:
            raise ValueError(f"steady_s {self.steady_s} is not 0 or above")
        needs_map = self.interpolation == "transfer" and self.reply == "image"
        if self.reply not in (None, "image", "map") or needs_map:
            raise ValueError(f"{self.interpolation} cannot work with reply {self.reply!r}")

    @property
    def asked_reply(self) -> Reply:
        """What the edge is asked to send back."""
        return self.reply or USUAL_REPLY[self.interpolation]

    def selector(self, bundle: Bundle) -> KeyFrameSelector:
        """Return what decides on key frames; it has seen no frame yet.

        Args:
            bundle: Holds the key-frame kernel.

        Raises:
            KeyFramePolicyError: `policy` is not understood.
            MVStylizerError: The kernel cannot be loaded.
        """
        policy = parse_policy(
            self.policy, lambda: KeyFrameScore(bundle.file("key_frame")), max_interval=self.max_interval
        )
        return KeyFrameSelector(policy, max_interval=self.max_interval)
