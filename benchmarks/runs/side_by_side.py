"""Clips in four ways, for the report: as filmed, every frame stylized, key frames with each interpolation.

The pictures of all ways are tiles of one video, so that they cannot get out of step. Below them is how far
each interpolation is from stylizing every frame, amplified.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.data import footage
from benchmarks.data.models import shipped
from benchmarks.harness.registry import Progress
from benchmarks.harness.side_by_side import SideBySide
from benchmarks.runs.pipeline_run import RecordedStylizer, pictures_of
from device_runtime.key_frames.scene_cuts import SceneCuts, luma_thumbnail
from device_runtime.options import Interpolation, StylizeOptions
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from mvstylizer.bundle import Bundle

Picture = NDArray[np.uint8]

INTERVAL: Final = 15
TILE_WIDTH: Final = 480
CRF: Final = 26
AMPLIFIED: Final = 8
WAYS: Final[tuple[Interpolation, ...]] = ("transfer", "warp")


class Excerpt(NamedTuple):
    """Some frames of a sample clip: what they show, the clip, the first frame and how many."""

    title: str
    clip: str
    first: int
    frames: int


EXCERPTS: Final = (
    Excerpt("Scene cuts", "bikes", 20, 70),
    Excerpt("Fast motion", "bikes", 31, 45),
    Excerpt("Calm", "bigbuckbunny", 75, 45),
)


def make_side_by_side(
    folder: Path,
    progress: Progress,
    *,
    excerpts: Sequence[Excerpt] = EXCERPTS,
    bundle: Bundle | None = None,
    threads: int = 0,
    crf: int = CRF,
) -> list[SideBySide]:
    """Write one clip per excerpt to a folder.

    Args:
        folder: Where the clips are written.
        progress: Receives a line per excerpt.
        excerpts: What to show.
        bundle: Model bundle; defaults to the bundled model.
        threads: Cores for the stylizer; 0 = all.
        crf: Quality of the clips.

    Raises:
        MVStylizerError: The footage or the model is missing.
    """
    model = bundle or shipped()[0]
    with OnnxStylizer(model, threads=threads) as stylizer:
        found = []
        for number, excerpt in enumerate(excerpts):
            progress(f"report: {excerpt.title}, {excerpt.frames} frames in four ways")
            out = folder / f"side_by_side_{number}.mp4"
            found.append(_side_by_side(excerpt, out, RecordedStylizer(stylizer), model, crf))
    return found


def _side_by_side(
    excerpt: Excerpt, out: Path, stylizer: RecordedStylizer, bundle: Bundle, crf: int
) -> SideBySide:
    filmed = footage.frames(footage.clip(excerpt.clip), excerpt.first + excerpt.frames)[excerpt.first :]
    code = stylizer.encode_style(footage.style())
    every = [_image(stylizer, frame, code) for frame in filmed]
    ways: list[list[Picture]] = []
    key_frames: list[int] = []
    for way in WAYS:
        options = StylizeOptions(f"every:{INTERVAL}", way)
        with pictures_of(filmed, options, stylizer=stylizer, bundle=bundle) as pictures:
            shown = list(pictures)
        ways.append([picture for picture, _ in shown])
        key_frames = [index for index, (_, is_key) in enumerate(shown) if is_key]
    height, width = (round(side * TILE_WIDTH / filmed[0].shape[1] / 2) * 2 for side in filmed[0].shape[:2])
    tiles = [[_fitted(picture, width, height) for picture in shown] for shown in (filmed, every, *ways)]
    mosaics = (_mosaic(four) for four in zip(*tiles, strict=True))
    footage.write_clip(out, mosaics, 2 * width, 3 * height, crf=crf)
    apart: dict[str, list[float]] = {
        way: [float(cv2.absdiff(*pair).mean()) for pair in zip(tiles[1], shown, strict=True)]
        for way, shown in zip(WAYS, tiles[2:], strict=True)
    }
    about = f"{bundle.name}, a key frame every {INTERVAL} frames"
    return SideBySide(excerpt.title, out, key_frames, _cuts(filmed), apart, about)


def _cuts(filmed: Sequence[Picture]) -> list[int]:
    """Return the indices of the first frames of scenes, without the first scene."""
    begins = SceneCuts()
    return [index for index, frame in enumerate(filmed) if begins(luma_thumbnail(frame))][1:]


def _image(stylizer: RecordedStylizer, frame: Picture, code: NDArray[np.float32]) -> Picture:
    image = stylizer.stylize(frame, code).image
    if image is None:
        raise ValueError("the stylizer gave no image")
    return image


def _fitted(picture: Picture, width: int, height: int) -> Picture:
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _mosaic(tiles: Sequence[Picture]) -> Picture:
    """Return filmed and every frame above both interpolations, and their differences to every frame below."""
    filmed, every, *ways = tiles
    differences = [cv2.convertScaleAbs(cv2.absdiff(way, every), alpha=AMPLIFIED) for way in ways]
    return np.vstack([np.hstack(row) for row in ((filmed, every), ways, differences)])
