from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from device_runtime.key_frames.scene_cuts import SceneCuts, luma_thumbnail
from device_runtime.media.reader import VideoReader

BIKES_CUTS = [0, 30, 76, 137, 187, 242]  # seen by eye
Picture = NDArray[np.uint8]


def cuts_of(frames: Iterable[Picture]) -> list[int]:
    begins_scene = SceneCuts()
    return [i for i, frame in enumerate(frames) if begins_scene(luma_thumbnail(frame))]


def of_clip(path: Path, count: int = 1000) -> list[Picture]:
    with VideoReader(path) as reader:
        return [frame.rgb for frame in reader if frame.index < count]


def test_every_cut_of_a_real_clip_and_nothing_else(bikes: Path) -> None:
    assert cuts_of(of_clip(bikes)) == BIKES_CUTS


def test_a_single_shot_has_none(bunny: Path) -> None:
    assert cuts_of(of_clip(bunny)) == [0]


def test_every_third_frame_is_still_the_same_scene(bikes: Path) -> None:
    assert cuts_of(of_clip(bikes, 30)[::3]) == [0]


@pytest.mark.parametrize("speed", [5, 20, 40])
def test_a_pan_is_not_a_cut(speed: int) -> None:
    photo = data.astronaut()
    assert cuts_of(photo[100:280, x : x + 320] for x in range(0, 192, speed)) == [0]


def test_flashes_and_fades_are_not_cuts(bikes: Path) -> None:
    frames = of_clip(bikes, 20)
    flash = [np.clip(f.astype(int) + 110 * (i == 8), 0, 255).astype(np.uint8) for i, f in enumerate(frames)]
    fade = [(f * (1 - 0.045 * i)).astype(np.uint8) for i, f in enumerate(frames)]
    assert cuts_of(flash) == [0]
    assert cuts_of(fade) == [0]


def test_black_between_two_scenes_is_a_separate_scene() -> None:
    black = np.full((180, 320, 3), 16, np.uint8)
    scene, other = data.astronaut()[:180, :320], data.coffee()[:180, :320]
    assert cuts_of([scene, scene, black, black, other, other]) == [0, 2, 4]


def test_noise_on_a_gray_wall_is_not_a_cut() -> None:
    noise = np.random.default_rng(0).normal(90, 10, (12, 180, 320, 3)).clip(0, 255).astype(np.uint8)
    assert cuts_of(noise) == [0]
