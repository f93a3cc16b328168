from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from device_runtime.interpolation.temporal_smoothing import averaged
from device_runtime.media.photo import write_photo
from device_runtime.media.reader import VideoReader
from device_runtime.motion.flow import Motion
from device_runtime.options import StylizeOptions
from device_runtime.pipeline import stylize_video
from mvstylizer.bundle import default_bundle, load_bundle
from mvstylizer.stylizer import Reply, StylizedFrame
from tests.device_runtime.clips import write_clip

BUNDLE = load_bundle(default_bundle())
SIZE = (160, 96)
SCENES = [cv2.resize(picture, SIZE) for picture in (data.astronaut(), data.coffee())]
FLICKER = np.random.default_rng(1).uniform(0.85, 1.15, 60)
CUT = 40  # the second scene begins here, half as bright


class Levelling:
    """Applies the gain that brings a key frame's mean to 120, as a style's statistics do with light."""

    def encode_style(self, style: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.zeros(4, np.float32)

    def stylize(
        self,
        frame: NDArray[np.uint8],
        style_code: NDArray[np.float32],
        *,
        r: float = 1.0,
        reply: Reply = "image",
    ) -> StylizedFrame:
        gain = np.eye(3, 4, dtype=np.float32) * np.float32(120 / frame.mean())
        return StylizedFrame(None, np.broadcast_to(gain, (12, 20, 2, 3, 4)).copy())

    def close(self) -> None:
        pass


def flickering(index: int, width: int, height: int) -> NDArray[np.uint8]:
    light = FLICKER[index] * (0.5 if index < CUT else 0.25)
    return np.asarray(np.rint(SCENES[index >= CUT] * light), np.uint8)


def gains(path: Path, out: Path) -> NDArray[np.float64]:
    """Return the gain of each frame of a result."""
    means = []
    for each in (path, out):
        with VideoReader(each) as reader:
            means.append(np.array([frame.rgb.mean() for frame in reader]))
    return means[1] / means[0]


@pytest.fixture
def results(tmp_path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gains without and with averaging over one second; a key frame every four frames, 0.16 s."""
    source = write_clip(tmp_path / "flicker.mp4", range(60), size=SIZE, picture=flickering)
    write_photo(tmp_path / "style.png", data.chelsea())
    found = []
    for seconds in (0.0, 1.0):
        out = tmp_path / f"{seconds}.mp4"
        report = stylize_video(
            source,
            tmp_path / "style.png",
            out,
            options=StylizeOptions(policy="every:4", temporal_smoothing_s=seconds, crf=4),
            stylizer=Levelling(),
            bundle=BUNDLE,
        )
        assert report.key_frame_indices == list(range(0, 60, 4))
        found.append(gains(source, out))
    return found[0], found[1]


def test_smoothing_removes_flicker_and_restarts_at_a_cut(
    results: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:
    loose, steady = results
    for scene in (slice(0, CUT), slice(CUT, 60)):
        jumps = [np.abs(np.diff(each[scene][::4])).mean() for each in (loose, steady)]
        assert jumps[1] < jumps[0] / 3
        np.testing.assert_allclose(steady[scene.start], loose[scene.start], rtol=0.02)
    assert steady[CUT] / steady[CUT - 1] > 1.3, "nothing of the first scene's gain is left"


def motion(visible: float, dx: float = 0) -> Motion:
    flow = np.zeros((96, 160, 2), np.float32) + np.array([dx, 0], np.float32)
    return Motion(flow, np.full((96, 160), visible, np.float32))


def test_the_past_only_counts_where_it_was_visible() -> None:
    before, now = (np.full((12, 20, 3, 3, 4), value, np.float32) for value in (0.0, 1.0))
    share = math.exp(-0.5)
    for visible in (0.0, 0.5, 1.0):
        found = averaged(before, now, motion(visible), share)
        np.testing.assert_allclose(found, 1 - share * visible, atol=1e-6)


def test_the_past_is_warped_and_may_have_another_grid() -> None:
    ramp = np.arange(20, dtype=np.float32)[None, :, None, None, None] * np.ones((12, 1, 3, 3, 4), np.float32)
    found = averaged(ramp, np.zeros_like(ramp), motion(1.0, dx=16), 1.0)
    np.testing.assert_allclose(found[:, :18], ramp[:, 2:], atol=1e-4)
    coarse = averaged(ramp, np.zeros((6, 10, 1, 3, 4), np.float32), motion(1.0), 1.0)
    np.testing.assert_allclose(coarse, ramp[:, :, :1].reshape(6, 2, 10, 2, 1, 3, 4).mean((1, 3)), atol=1e-4)
