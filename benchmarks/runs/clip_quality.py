"""Clips with every frame stylized, as the reference for interpolated frames, and their temporal stability."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_msssim import ms_ssim

from benchmarks.data import footage
from benchmarks.harness.result import Value
from benchmarks.metrics.similarity import flicker, luma, motions, ssim, warping_errors
from benchmarks.runs.pipeline_run import RecordedStylizer, pictures_of
from device_runtime.key_frames.scene_cuts import SceneCuts, luma_thumbnail
from device_runtime.motion.flow import Motion
from device_runtime.options import StylizeOptions
from mvstylizer.bundle import Bundle

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Kit:
    """The model, and the pool that runs it."""

    bundle: Bundle
    stylizer: RecordedStylizer
    pool: ThreadPoolExecutor

    def stylize(self, frame: Picture) -> Picture:
        """Return a frame with the sample style, uint8 RGB (H, W, 3)."""
        image = self.stylizer.stylize(frame, self.stylizer.encode_style(footage.style())).image
        if image is None:
            raise ValueError("the stylizer gave no image")
        return image

    def pictures(
        self, frames: Sequence[Picture], options: StylizeOptions
    ) -> AbstractContextManager[Iterator[tuple[Picture, bool]]]:
        """Process frames with the kit's pipeline; see `pictures_of`."""
        return pictures_of(frames, options, stylizer=self.stylizer, bundle=self.bundle)


@dataclass(frozen=True)
class ReferenceClip:
    """A clip with every frame stylized, its scenes, their motion, and the warping error of the source."""

    name: str
    filmed: list[Picture]
    stylized: list[Picture]
    scenes: list[slice]
    motions: list[list[Motion]]
    least_error: float

    @classmethod
    def read(cls, name: str, kit: Kit, count: int | None, size: str | None) -> ReferenceClip:
        """Read a sample clip, limited to `count` frames and resized to `size` if given."""
        filmed = footage.frames(footage.clip(name), count)
        if size:
            filmed = [footage.fitted(frame, *footage.size(size)) for frame in filmed]
        begins = SceneCuts()
        starts = [place for place, frame in enumerate(filmed) if begins(luma_thumbnail(frame))]
        ends = [*starts[1:], len(filmed)]
        scenes = [slice(start, end) for start, end in zip(starts, ends, strict=True)]
        moved = [motions(filmed[scene]) for scene in scenes]
        errors: list[float] = []
        for motion, scene in zip(moved, scenes, strict=True):
            errors += warping_errors(motion, filmed[scene])
        stylized = list(kit.pool.map(kit.stylize, filmed))
        return cls(name, filmed, stylized, scenes, moved, float(np.mean(errors)))

    def steadiness(self, shown: Sequence[Picture]) -> dict[str, Value]:
        """Return the temporal figures within scenes, and the similarity to the source frames."""
        errors, jumps = [], []
        for scene, moved in zip(self.scenes, self.motions, strict=True):
            errors += warping_errors(moved, shown[scene])
            jumps += flicker(self.filmed[scene], shown[scene])
        similarity = [ssim(luma(a), luma(b)) for a, b in zip(self.filmed[::4], shown[::4], strict=True)]
        return {
            "warping_error": float(np.mean(errors)),
            "warping_error_filmed": self.least_error,
            "flicker": float(np.mean(jumps)),
            "ssim_to_content": float(np.mean(similarity)),
        }


def picture_ms_ssim(first: Picture, second: Picture) -> float:
    """Return the MS-SSIM of two pictures, uint8 RGB (H, W, 3)."""
    tensors = [
        torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)[None] for picture in (first, second)
    ]
    with torch.inference_mode():
        return float(ms_ssim(tensors[0], tensors[1], data_range=255))
