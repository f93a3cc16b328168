from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from device_runtime.interpolation.interpolator import (
    KeyFrameResult,
    TransferInterpolator,
    WarpInterpolator,
)
from device_runtime.interpolation.moving import blended
from device_runtime.kernels import Transfer, Warp
from device_runtime.media.color import Color
from device_runtime.media.orientation import Orientation
from device_runtime.media.planes import Planes, in_rgb, planes_of
from device_runtime.motion.flow import Motion
from mvstylizer.stylizer import StylizedFrame

FRAME = np.ascontiguousarray(cv2.resize(data.coffee(), (128, 72)))
HEIGHT, WIDTH = FRAME.shape[:2]
RED = np.full_like(FRAME, (200, 20, 20))
BLUE = np.full_like(FRAME, (20, 20, 200))


@pytest.fixture(scope="module")
def transfer(kernels: Path) -> Iterator[Transfer]:
    with Transfer(kernels / "transfer.tflite", threads=1) as kernel:
        yield kernel


@pytest.fixture
def warps(kernels: Path) -> Iterator[tuple[Warp, Warp]]:
    path = kernels / "warp.tflite"
    with Warp(path, threads=1) as before, Warp(path, threads=1) as after:
        yield before, after


def with_image(image: NDArray[np.uint8], rgb: NDArray[np.uint8] = FRAME) -> KeyFrameResult:
    return KeyFrameResult(rgb, StylizedFrame(image, None))


def with_map(grid: NDArray[np.float32], rgb: NDArray[np.uint8] = FRAME) -> KeyFrameResult:
    return KeyFrameResult(rgb, StylizedFrame(None, grid))


def motion(dx: float = 0, dy: float = 0, visible: float = 1) -> Motion:
    flow = np.zeros((HEIGHT // 2, WIDTH // 2, 2), np.float32) + np.array([dx / 2, dy / 2], np.float32)
    return Motion(flow, np.full(flow.shape[:2], visible, np.float32))


def plain_map(colors: NDArray[np.float64]) -> NDArray[np.float32]:
    """The same [A | b] in every cell and bin."""
    return np.broadcast_to(colors.astype(np.float32), (9, 16, 4, 3, 4)).copy()


TINT = plain_map(np.array([[0.8, 0.1, 0, 0.05], [0, 0.7, 0.1, 0], [0.1, 0, 0.6, 0.1]]))


def tinted(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    unit = np.concatenate([frame / 255, np.ones((*frame.shape[:2], 1))], -1)
    return np.clip(np.rint(unit @ TINT[0, 0, 0].T.astype(float) * 255), 0, 255).astype(np.uint8)


def difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> int:
    return int(np.abs(a.astype(int) - b).max())


def test_warp_moves_pixels_from_the_previous_key_frame(warps: tuple[Warp, Warp], transfer: Transfer) -> None:
    interpolator = WarpInterpolator(*warps, transfer)
    np.testing.assert_array_equal(interpolator.begin(with_image(RED), None), RED)
    interpolator.begin(with_image(FRAME), None)
    out = interpolator.between(FRAME, motion(3, -2), None, 0.0)
    np.testing.assert_array_equal(out[2:, :-3], FRAME[:-2, 3:])


@pytest.mark.parametrize("position", [0.1, 0.5, 0.9])
def test_time_decides_where_both_sides_are_visible(
    warps: tuple[Warp, Warp], transfer: Transfer, position: float
) -> None:
    interpolator = WarpInterpolator(*warps, transfer)
    interpolator.begin(with_image(RED), with_image(BLUE))
    out = interpolator.between(FRAME, motion(), motion(), position)
    expected = (1 - position) * RED.astype(float) + position * BLUE
    assert np.abs(out - expected).max() <= 1


def test_a_place_visible_on_one_side_comes_from_that_side(
    warps: tuple[Warp, Warp], transfer: Transfer
) -> None:
    interpolator = WarpInterpolator(*warps, transfer)
    interpolator.begin(with_image(RED), with_image(BLUE))
    assert difference(interpolator.between(FRAME, motion(visible=0), motion(), 0.1), BLUE) <= 3
    assert difference(interpolator.between(FRAME, motion(), motion(visible=0), 0.9), RED) <= 3


def test_a_hidden_place_is_still_filled(warps: tuple[Warp, Warp], transfer: Transfer) -> None:
    interpolator = WarpInterpolator(*warps, transfer)
    interpolator.begin(with_image(RED), with_image(BLUE))
    out = interpolator.between(FRAME, motion(visible=0), motion(visible=0), 0.25)
    assert np.abs(out - (0.75 * RED.astype(float) + 0.25 * BLUE)).max() <= 1


def test_a_segment_after_another_is_as_if_it_were_the_first(
    warps: tuple[Warp, Warp], transfer: Transfer
) -> None:
    keys = [with_image(RED), with_image(FRAME), with_image(BLUE)]
    running, fresh = WarpInterpolator(*warps, transfer), WarpInterpolator(*warps, transfer)
    running.begin(keys[0], keys[1])
    first = running.begin(keys[1], keys[2])
    out = running.between(FRAME, motion(2, 1), motion(-1, 0), 0.3)
    np.testing.assert_array_equal(first, fresh.begin(keys[1], keys[2]))
    np.testing.assert_array_equal(out, fresh.between(FRAME, motion(2, 1), motion(-1, 0), 0.3))


def test_warp_makes_its_key_frames_from_maps_when_maps_come(
    warps: tuple[Warp, Warp], transfer: Transfer
) -> None:
    interpolator = WarpInterpolator(*warps, transfer)
    assert difference(interpolator.begin(with_map(TINT), None), tinted(FRAME)) <= 1
    assert difference(interpolator.between(FRAME, motion(), None, 0.0), tinted(FRAME)) <= 1


def test_transfer_applies_the_map_to_the_frame_itself(transfer: Transfer) -> None:
    interpolator = TransferInterpolator(transfer)
    frame = np.ascontiguousarray(FRAME[::-1])
    assert difference(interpolator.begin(with_map(TINT), None), tinted(FRAME)) <= 1
    assert difference(interpolator.between(frame, motion(9, 4), None, 0.0), tinted(frame)) <= 1


def test_transfer_blends_the_maps_of_both_sides(transfer: Transfer) -> None:
    identity, black = plain_map(np.eye(3, 4)), plain_map(np.zeros((3, 4)))
    interpolator = TransferInterpolator(transfer)
    interpolator.begin(with_map(identity), with_map(black))
    half = interpolator.between(FRAME, motion(), motion(), 0.5)
    assert np.abs(half - FRAME / 2).max() <= 1
    only_before = interpolator.between(FRAME, motion(), motion(visible=0), 0.5)
    assert difference(only_before, FRAME) <= 2


def test_the_map_follows_the_motion(transfer: Transfer) -> None:
    halves = plain_map(np.eye(3, 4))
    halves[:, 8:] = 0
    interpolator = TransferInterpolator(transfer)
    interpolator.begin(with_map(halves), None)
    out = interpolator.between(FRAME, motion(dx=32), None, 0.0)  # 32 pixels are 4 of 16 cells
    black = (out.max(-1) == 0).mean(0)
    edge = int(np.argmax(black > 0.9))
    assert abs(edge - (64 - 32)) <= 8


@pytest.mark.parametrize("strength", [0.0, 0.4])
def test_strength(warps: tuple[Warp, Warp], transfer: Transfer, strength: float) -> None:
    expected = (1 - strength) * FRAME + strength * tinted(FRAME)
    makers = (
        (WarpInterpolator(*warps, transfer, strength=strength), with_image(tinted(FRAME))),
        (TransferInterpolator(transfer, strength=strength), with_map(TINT)),
    )
    for interpolator, key in makers:
        for out in (interpolator.begin(key, None), interpolator.between(FRAME, motion(), None, 0.0)):
            assert np.abs(out - expected).max() <= 1


def test_full_strength_leaves_the_styled_picture_as_it_is() -> None:
    assert blended(FRAME, RED, 1.0) is RED


def test_transfer_without_a_map_is_an_error(transfer: Transfer) -> None:
    with pytest.raises(ValueError, match="needs maps"):
        TransferInterpolator(transfer).begin(with_image(RED), None)


def planes(rgb: NDArray[np.uint8], bits: int, chroma: str = "420") -> Planes:
    """A picture in planes of BT.709, full range."""
    name = f"yuv{chroma}p" + ("10le" if bits == 10 else "")
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
        format=name, dst_colorspace=1, dst_color_range=2
    )
    made = planes_of(frame, Color(1, 2, 1, 1, 1), Orientation())
    assert made is not None
    return made


@pytest.mark.parametrize("strength", [1.0, 0.6])
@pytest.mark.parametrize(("bits", "chroma"), [(8, "420"), (8, "444"), (10, "420"), (10, "422")])
def test_planes_are_warped_like_rgb(
    warps: tuple[Warp, Warp], transfer: Transfer, bits: int, chroma: str, strength: float
) -> None:
    """With image and with map, from both sides; without detail that chroma cannot hold."""
    smooth = np.asarray(cv2.GaussianBlur(FRAME, (0, 0), 3), np.uint8)
    later = np.roll(smooth, 6, 1)
    for reply in ("image", "map"):

        def key(rgb: NDArray[np.uint8], as_planes: bool, reply: str = reply) -> KeyFrameResult:
            picture = planes(rgb, bits, chroma) if as_planes else rgb
            image = tinted(rgb) if reply == "image" else None
            return KeyFrameResult(picture, StylizedFrame(image, None if image is not None else TINT))

        made = []
        for as_planes in (True, False):
            interpolator = WarpInterpolator(*warps, transfer, strength=strength)
            first = interpolator.begin(key(smooth, as_planes), key(later, as_planes))
            frame = planes(smooth, bits, chroma) if as_planes else smooth
            both = motion(3.3, 1.2), motion(-2.6, 0.4, visible=0.5)
            made.append((first, interpolator.between(frame, *both, 0.4)))
        for ours, theirs in zip(*made, strict=True):
            assert isinstance(ours, Planes)
            assert (ours.bits, ours.planes[1].shape) == (bits, planes(smooth, bits, chroma).planes[1].shape)
            assert cv2.PSNR(in_rgb(ours), in_rgb(theirs)) > 42
