from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from device_runtime.media.reader import VideoReader
from tests.device_runtime.clips import Picture, write_clip

SIZE = (320, 240)
PLACES = range(12)


def panned(step: tuple[int, int]) -> Picture:
    """A camera that moves by `step` pixels a frame, so that what it sees moves the other way."""
    wide = np.asarray(cv2.resize(data.astronaut(), (640, 640)), np.uint8)

    def picture(index: int, width: int, height: int) -> NDArray[np.uint8]:
        left, top = 120 + index * step[0], 160 + index * step[1]
        return np.ascontiguousarray(wide[top : top + height, left : left + width])

    return picture


def found(path: Path) -> list[NDArray[np.float32] | None]:
    with VideoReader(path, codec_motion=True) as reader:
        return [frame.codec_motion for frame in reader]


def in_pixels(motion: NDArray[np.float32], size: Sequence[int]) -> NDArray[np.float32]:
    inner = motion[2:-2, 2:-2]
    return np.asarray(np.median(inner, axis=(0, 1)) * np.array(size), np.float32)


@pytest.mark.parametrize("step", [(6, 0), (-4, 3), (0, -5)])
def test_the_vectors_of_a_pan_are_the_pan(tmp_path: Path, step: tuple[int, int]) -> None:
    motions = found(write_clip(tmp_path / "pan.mp4", PLACES, size=SIZE, picture=panned(step)))
    assert motions[0] is None, "coded without reference"
    known = [motion for motion in motions if motion is not None]
    assert len(known) >= 9
    for motion in known:
        assert motion.dtype == np.float32
        assert motion.shape == (30, 40, 2)
        # The point at x was at x + step in the previous frame: that is backward motion.
        np.testing.assert_allclose(in_pixels(motion, SIZE), step, atol=0.6)


@pytest.mark.parametrize(("rotation", "turn"), [(90, [[0, 1], [-1, 0]]), (180, [[-1, 0], [0, -1]])])
def test_vectors_turn_with_the_picture(tmp_path: Path, rotation: float, turn: list[list[int]]) -> None:
    path = write_clip(tmp_path / "pan.mp4", PLACES, size=SIZE, rotation=rotation, picture=panned((6, 2)))
    size = SIZE[::-1] if rotation == 90 else SIZE
    motion = found(path)[1]
    assert motion is not None
    np.testing.assert_allclose(in_pixels(motion, size), np.array(turn) @ (6, 2), atol=0.6)


def test_vectors_are_only_exported_on_request(tmp_path: Path) -> None:
    with VideoReader(write_clip(tmp_path / "pan.mp4", PLACES, picture=panned((6, 0)))) as reader:
        assert [frame.codec_motion for frame in reader] == [None] * len(PLACES)


def test_a_decoder_without_vectors_yields_none(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "hevc.mp4", PLACES, size=SIZE, picture=panned((6, 0)), codec="libx265")
    assert found(path) == [None] * len(PLACES)
