"""Key-frame selection: which frames the edge stylizes; the device interpolates the others.

A policy nominates key frames. In addition, every scene cut starts with a key frame, and intervals have a
maximum length, which bounds the number of frames held in memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from device_runtime.kernels import KeyFrameScore
from device_runtime.key_frames.scene_cuts import SceneCuts, luma_thumbnail
from device_runtime.media.reader import Frame
from device_runtime.motion.similarity import MotionCompensatedSSIM

MAX_INTERVAL: Final = 30
MIN_CODEC_INTERVAL: Final = 5  # some cameras and editors intra-code every frame
# On real footage this selects a key frame about every 11 frames in a busy street and every 26 in a calm
# scene.
CONTENT_THRESHOLD: Final = 0.25
INTEGER: Final = re.compile(r"[0-9]+")
FRACTION: Final = re.compile(r"[0-9]*\.?[0-9]+")


class KeyFramePolicyError(ValueError):
    """Error raised for an unknown key-frame policy or a number outside its range."""


class KeyFramePolicy(Protocol):
    """Nominates key frames."""

    def wants(self, frame: Frame, luma: NDArray[np.uint8], key_luma: NDArray[np.uint8], gap: int) -> bool:
        """Return whether a frame should be a key frame.

        Args:
            frame: The frame.
            luma: Its thumbnail, uint8 (90, 160).
            key_luma: Thumbnail of the last key frame.
            gap: Frames since the last key frame, from 1.
        """
        ...


@dataclass(frozen=True)
class CodecPolicy:
    """Intra-coded frames, such as I frames of an H.264 stream (the paper's choice).

    Skips those less than `min_interval` frames after the last key frame.
    """

    min_interval: int = MIN_CODEC_INTERVAL

    def wants(self, frame: Frame, luma: NDArray[np.uint8], key_luma: NDArray[np.uint8], gap: int) -> bool:
        """See `KeyFramePolicy.wants`."""
        return frame.codec_key and gap >= self.min_interval


@dataclass(frozen=True)
class EveryPolicy:
    """Every `interval`-th frame, counted from the last key frame."""

    interval: int

    def wants(self, frame: Frame, luma: NDArray[np.uint8], key_luma: NDArray[np.uint8], gap: int) -> bool:
        """See `KeyFramePolicy.wants`."""
        return gap >= self.interval


@dataclass(frozen=True)
class ContentPolicy:
    """Frames whose content differs enough from the last key frame, as scored by the key-frame kernel."""

    score: KeyFrameScore
    threshold: float = CONTENT_THRESHOLD
    max_interval: int = MAX_INTERVAL

    def wants(self, frame: Frame, luma: NDArray[np.uint8], key_luma: NDArray[np.uint8], gap: int) -> bool:
        """See `KeyFramePolicy.wants`."""
        decision = self.score(luma, key_luma, threshold=self.threshold, gap=gap, max_gap=self.max_interval)
        return decision.is_key


@dataclass
class AdaptivePolicy:
    """Frames that can no longer be interpolated well from the last key frame.

    Predicted by the `MotionCompensatedSSIM` of the frame and the last key frame. A new object lowers it by
    the share of the frame that it covers, before the next regular key frame is due.

    Attributes:
        quality: SSIM below which a frame becomes a key frame, between 0 and 1.
    """

    quality: float
    _ssim: MotionCompensatedSSIM = field(default_factory=MotionCompensatedSSIM, repr=False, compare=False)
    _key_luma: NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)
    _flow: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)

    def wants(self, frame: Frame, luma: NDArray[np.uint8], key_luma: NDArray[np.uint8], gap: int) -> bool:
        """See `KeyFramePolicy.wants`."""
        if key_luma is not self._key_luma:
            self._key_luma, self._flow = key_luma, None
        ssim, self._flow = self._ssim(luma, key_luma, self._flow)
        return ssim < self.quality


def parse_policy(
    text: str, load_score: Callable[[], KeyFrameScore], *, max_interval: int = MAX_INTERVAL
) -> KeyFramePolicy:
    """Parse ``codec``, ``content``, ``every:N`` or ``adaptive:Q``.

    Args:
        text: The policy as the user wrote it.
        load_score: Loads the key-frame kernel; called for ``content`` only.
        max_interval: Maximum N.

    Raises:
        KeyFramePolicyError: Any other text, N outside 1..max_interval, or Q not between 0 and 1.
        KernelError: The kernel cannot be loaded.
    """
    if text == "codec":
        return CodecPolicy()
    if text == "content":
        return ContentPolicy(load_score(), max_interval=max_interval)
    return _numbered_policy(text, max_interval)


def check_policy(text: str, *, max_interval: int = MAX_INTERVAL) -> None:
    """Check a policy without loading a kernel.

    Raises:
        KeyFramePolicyError: As raised by `parse_policy`.
    """
    if text not in ("codec", "content"):
        _numbered_policy(text, max_interval)


def _numbered_policy(text: str, max_interval: int) -> EveryPolicy | AdaptivePolicy:
    kind, _, number = text.partition(":")
    if kind == "every" and INTEGER.fullmatch(number):
        if not 1 <= int(number) <= max_interval:
            raise KeyFramePolicyError(f"{text}: N must be between 1 and {max_interval}")
        return EveryPolicy(int(number))
    if kind == "adaptive" and FRACTION.fullmatch(number):
        if not 0 < float(number) < 1:
            raise KeyFramePolicyError(f"{text}: Q must be between 0 and 1")
        return AdaptivePolicy(float(number))
    raise KeyFramePolicyError(
        f"{text!r} is not a key-frame policy: use codec, content, every:N or adaptive:Q"
    )


class KeyFrameDecision(NamedTuple):
    """Decision about one frame.

    Attributes:
        is_key: It is a key frame.
        is_cut: It is the first frame of a scene, and therefore a key frame.
    """

    is_key: bool
    is_cut: bool


class KeyFrameSelector:
    """Selects key frames, given frames in presentation order.

    Args:
        policy: Nominates key frames.
        max_interval: Maximum number of frames from one key frame to the next.
    """

    def __init__(self, policy: KeyFramePolicy, *, max_interval: int = MAX_INTERVAL) -> None:
        self._policy = policy
        self._max_interval = max_interval
        self._begins_scene = SceneCuts()
        self._key_luma: NDArray[np.uint8] | None = None
        self._gap = 0

    def decide(self, frame: Frame) -> KeyFrameDecision:
        """Decide on the next frame."""
        luma = luma_thumbnail(frame.picture)
        self._gap += 1
        is_cut = self._begins_scene(luma)
        is_key = is_cut or self._is_due(frame, luma)
        if is_key:
            self._key_luma, self._gap = luma, 0
        return KeyFrameDecision(is_key, is_cut)

    def _is_due(self, frame: Frame, luma: NDArray[np.uint8]) -> bool:
        if self._key_luma is None or self._gap >= self._max_interval:
            return True
        return self._policy.wants(frame, luma, self._key_luma, self._gap)
