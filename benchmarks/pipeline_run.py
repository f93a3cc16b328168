"""Whole runs of the main job, as benches time them."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.data import footage
from device_runtime.options import Interpolation, StylizeOptions
from device_runtime.pipeline import stylize_video
from device_runtime.report import Report
from mvstylizer.bundle import Bundle
from mvstylizer.stylizer import Reply, StylizedFrame, Stylizer

# The stages of `device_runtime.report` that run on the phone, in words.
STAGES: Final = {
    "decode": "decoding",
    "key_frames": "deciding on key frames and scene cuts",
    "flow": "optical flow",
    "interpolate": "making the picture",
    "encode": "encoding",
}


class RecordedStylizer:
    """A stylizer whose replies are remembered: what is asked again is answered at once.

    What remains of a second run is the phone's own work, with an edge that costs nothing.

    Args:
        stylizer: Answers what was not asked before.
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
        """See `Stylizer.stylize`; one style a run, so the code is no part of what is remembered."""
        key = _digest(frame), r, reply
        if key not in self._replies:
            self._replies[key] = self._stylizer.stylize(frame, style_code, r=r, reply=reply)
        return self._replies[key]

    def close(self) -> None:
        """Nothing to do: whoever made the stylizer closes it."""


def run_clip(
    source: Path,
    stylizer: Stylizer,
    bundle: Bundle,
    policy: str,
    interpolation: Interpolation,
    *,
    two_sided: bool = True,
) -> Report:
    """Stylize a clip after the sample style into a file that is thrown away, and return the report."""
    with tempfile.TemporaryDirectory() as folder:
        return stylize_video(
            source,
            footage.STYLE,
            Path(folder) / "out.mp4",
            options=StylizeOptions(policy, interpolation, two_sided=two_sided),
            stylizer=stylizer,
            bundle=bundle,
        )


def _digest(picture: NDArray[np.uint8]) -> str:
    return hashlib.blake2b(np.ascontiguousarray(picture).data, digest_size=16).hexdigest()
