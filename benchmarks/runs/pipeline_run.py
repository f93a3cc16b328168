"""Whole runs of the pipeline for benchmarks."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.data import footage
from device_runtime.frames import open_pictures
from device_runtime.media.planes import in_rgb
from device_runtime.media.reader import Frame
from device_runtime.options import Interpolation, StylizeOptions
from device_runtime.pipeline import stylize_video
from device_runtime.report import Report, Stopwatch
from device_runtime.stylizers.style_mix import StyleMix
from mvstylizer.bundle import Bundle
from mvstylizer.stylizer import Reply, StylizedFrame, Stylizer

# Stages of `device_runtime.report` that run on the phone.
STAGES: Final = {
    "decode": "decoding",
    "key_frames": "choosing key frames and detecting scene cuts",
    "flow": "optical flow",
    "interpolate": "interpolation",
    "encode": "encoding",
}


class RecordedStylizer:
    """A stylizer that caches replies, so that a second run measures the phone's work only.

    Args:
        stylizer: Handles requests that are not cached.
    """

    def __init__(self, stylizer: Stylizer) -> None:
        self._stylizer = stylizer
        self._codes: dict[str, NDArray[np.float32]] = {}
        self._replies: dict[tuple[str, float, Reply], StylizedFrame] = {}

    def encode_style(self, style: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Stylizer.encode_style`."""
        key = _digest(style)
        if key not in self._codes:
            self._codes[key] = self._stylizer.encode_style(style)
        return self._codes[key]

    def stylize(
        self,
        frame: NDArray[np.uint8],
        style_code: NDArray[np.float32],
        *,
        r: float = 1.0,
        reply: Reply = "image",
    ) -> StylizedFrame:
        """See `Stylizer.stylize`; there is one style per run, so the code is not part of the cache key."""
        key = _digest(frame), r, reply
        if key not in self._replies:
            self._replies[key] = self._stylizer.stylize(frame, style_code, r=r, reply=reply)
        return self._replies[key]

    def close(self) -> None:
        """Do nothing: the wrapped stylizer is closed by its owner."""


def run_clip(
    source: Path,
    stylizer: Stylizer,
    bundle: Bundle,
    policy: str,
    interpolation: Interpolation,
    *,
    two_sided: bool = True,
) -> Report:
    """Stylize a clip with the sample style into a temporary file and return the report."""
    with tempfile.TemporaryDirectory() as folder:
        return stylize_video(
            source,
            footage.STYLE,
            Path(folder) / "out.mp4",
            options=StylizeOptions(policy, interpolation, two_sided=two_sided),
            stylizer=stylizer,
            bundle=bundle,
        )


@contextmanager
def pictures_of(
    frames: Sequence[NDArray[np.uint8]], options: StylizeOptions, *, stylizer: Stylizer, bundle: Bundle
) -> Iterator[Iterator[tuple[NDArray[np.uint8], bool]]]:
    """Process frames (uint8 RGB) with the sample style; yields pictures and whether each is a key frame."""
    filmed = (
        Frame(index, rgb, pts=index, time_base=Fraction(1, 25), duration=1, codec_key=False)
        for index, rgb in enumerate(frames)
    )
    style, watch = StyleMix.of(footage.style()), Stopwatch()
    with open_pictures(filmed, style, options, stylizer=stylizer, bundle=bundle, watch=watch) as pictures:
        yield ((in_rgb(each.picture), each.is_key) for each in pictures)


def _digest(picture: NDArray[np.uint8]) -> str:
    return hashlib.blake2b(np.ascontiguousarray(picture).data, digest_size=16).hexdigest()
