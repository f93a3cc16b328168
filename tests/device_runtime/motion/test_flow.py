from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage import data

from device_runtime.frames import _estimators
from device_runtime.interpolation.grid import moved
from device_runtime.motion.flow import DisFlow, Motion, StillFlow, map_flow, sample, visibility
from device_runtime.options import Interpolation, StylizeOptions
from mvstylizer.bundle import Bundle

KEY = np.ascontiguousarray(cv2.resize(data.astronaut(), (384, 384))[:288])
HEIGHT, WIDTH = KEY.shape[:2]
ROWS, COLUMNS = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)


def seen_with(flow: NDArray[np.float32], key: NDArray[np.uint8] = KEY) -> NDArray[np.uint8]:
    """The frame that a backward flow describes, by its definition: ``frame[y, x] = key[y + dy, x + dx]``."""
    return cv2.remap(
        key, COLUMNS + flow[..., 0], ROWS + flow[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )


def luma(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)


def shift(dx: float, dy: float) -> NDArray[np.float32]:
    return np.dstack([np.full_like(ROWS, dx), np.full_like(ROWS, dy)])


def zoom_and_turn(zoom: float, degrees: float) -> NDArray[np.float32]:
    x, y = COLUMNS - WIDTH / 2, ROWS - HEIGHT / 2
    c, s = zoom * np.cos(np.radians(degrees)), zoom * np.sin(np.radians(degrees))
    return np.dstack([c * x - s * y - x, s * x + c * y - y]).astype(np.float32)


def miss(found: NDArray[np.float32], true: NDArray[np.float32], margin: int = 32) -> float:
    inner = np.s_[margin:-margin, margin:-margin]
    return float(np.linalg.norm((found - true)[inner], axis=-1).mean())


def test_sign_a_frame_moved_right_comes_from_the_left() -> None:
    frame = np.roll(luma(KEY), 6, axis=1)  # frame[y, x] = key[y, x - 6]
    flow = DisFlow().backward_flow(frame, luma(KEY))
    assert flow.dtype == np.float32
    assert flow.shape == (HEIGHT, WIDTH, 2)
    np.testing.assert_allclose(np.median(flow, axis=(0, 1)), [-6, 0], atol=0.2)


@pytest.mark.parametrize("scale", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("true", [shift(7, -4), shift(-2.5, 1.5), zoom_and_turn(0.97, 1.5)])
def test_analytic_flows_are_found(true: NDArray[np.float32], scale: float) -> None:
    found = DisFlow(scale).backward_flow(luma(seen_with(true)), luma(KEY))
    assert miss(found, true) < 0.5


@pytest.mark.parametrize("true", [shift(7, -4), shift(-2.5, 1.5), zoom_and_turn(0.97, 1.5)])
def test_map_flow_is_accurate_to_a_fraction_of_a_cell(true: NDArray[np.float32]) -> None:
    found = map_flow().backward_flow(luma(seen_with(true)), luma(KEY))
    assert miss(found, true) < 1  # pixel; a cell has 8 of them at the least


def test_warping_the_key_frame_by_it_gives_the_frame() -> None:
    frame = seen_with(zoom_and_turn(1.04, -2))
    flow = DisFlow().backward_flow(luma(frame), luma(KEY))
    rebuilt = sample(KEY.astype(np.float32), flow)
    inner = np.s_[32:-32, 32:-32]
    assert np.abs(rebuilt - frame)[inner].mean() < 0.3 * np.abs(KEY.astype(float) - frame)[inner].mean()


def test_following_step_by_step_finds_motion_that_one_search_does_not() -> None:
    search = DisFlow()
    key = search.prepare(KEY)
    frames = [search.prepare(seen_with(shift(10 * step, 0))) for step in range(1, 11)]
    motion = [*map(search.follow(key), frames)][-1]
    alone = search.follow(key)(frames[-1])
    visible_part = np.s_[40:-40, 20 : WIDTH - 140]
    errors = [
        np.linalg.norm((m.flow_on(HEIGHT, WIDTH) - shift(100, 0))[visible_part], axis=-1).mean()
        for m in (motion, alone)
    ]
    assert errors[0] < 1.0
    assert errors[0] < errors[1]


def test_a_step_that_is_known_finds_motion_too_long_for_one_search() -> None:
    search = DisFlow()
    key, frame = search.prepare(KEY), search.prepare(seen_with(shift(70, -30)))
    step = np.full((3, 4, 2), (70 / WIDTH, -30 / HEIGHT), np.float32)
    errors = [
        miss(motion.flow_on(HEIGHT, WIDTH), shift(70, -30), margin=80)
        for motion in (search.follow(key)(frame, step), search.follow(key)(frame))
    ]
    assert errors[0] < 1.0 < errors[1]


def test_known_steps_add_up() -> None:
    search = DisFlow()
    motion = search.follow(search.prepare(KEY))
    step = np.full((3, 4, 2), (40 / WIDTH, 0), np.float32)
    for place in (1, 2):
        found = motion(search.prepare(seen_with(shift(40 * place, 0))), step)
        assert miss(found.flow_on(HEIGHT, WIDTH), shift(40 * place, 0), margin=90) < 1.0


def test_what_an_object_hides_is_marked_and_the_rest_is_not() -> None:
    before, after = KEY.copy(), KEY.copy()
    thing = cv2.resize(data.coffee(), (90, 90))
    before[100:190, 60:150] = thing
    after[100:190, 110:200] = thing  # moved right by 50: what was at columns 60..109 has come into view
    search = DisFlow(1.0)
    visible = search.follow(search.prepare(before))(search.prepare(after)).visible_on(HEIGHT, WIDTH)
    uncovered, still_there = visible[110:180, 66:100], visible[20:80, 40:340]
    assert visible.min() >= 0
    assert visible.max() <= 1
    assert uncovered.mean() < 0.5
    assert still_there.mean() > 0.95


def test_visibility_in_closed_form() -> None:
    flow = shift(3, 4)
    consistent = visibility(flow, -flow)
    off_by_two = visibility(flow, shift(-3, -2))  # there and back misses by (0, 2)
    np.testing.assert_allclose(consistent, 1)
    allowed = 0.01 * (25 + 13) + 0.5
    np.testing.assert_allclose(off_by_two, allowed / (allowed + 4), rtol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 200), st.integers(1, 200), st.floats(-20, 20), st.floats(-20, 20))
def test_flow_on_another_grid_is_in_its_units(height: int, width: int, dx: float, dy: float) -> None:
    flow = np.zeros((48, 64, 2), np.float32) + np.array([dx, dy], np.float32)
    found = Motion(flow, np.ones((48, 64), np.float32)).flow_on(height, width)
    assert found.shape == (height, width, 2)
    np.testing.assert_allclose(found[..., 0], dx * width / 64, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found[..., 1], dy * height / 48, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (17, 9), (40, 31)])
def test_tiny_frames_have_a_flow_too(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    assert DisFlow().backward_flow(picture, picture).shape == (*size, 2)


def test_the_search_is_neither_too_fine_nor_too_coarse() -> None:
    assert DisFlow(0.25).prepare(KEY).shape == (160, 213)
    assert DisFlow(0.5).prepare(KEY[:100, :200]).shape == (100, 200)
    large = np.zeros((2160, 3840, 3), np.uint8)
    assert DisFlow(0.5).prepare(large).shape == (540, 960)
    assert DisFlow(0.5, max_short_side=2160).prepare(large).shape == (1080, 1920)


def test_a_still_flow_leaves_maps_as_they_are() -> None:
    grid = np.random.default_rng(0).normal(size=(4, 6, 3, 3, 4)).astype(np.float32)
    flow = StillFlow()
    key, frame = (flow.prepare(np.zeros((90, 160), np.uint8)) for _ in range(2))
    motion = flow.follow(key)(frame)
    assert np.array_equal(moved(grid, motion), grid)
    assert (motion.visible_on(4, 6) == 1).all()


@pytest.mark.parametrize(
    ("kind", "interpolation", "still"),
    [
        ("lut", "transfer", True),
        ("lut", "warp", False),
        ("grid", "transfer", False),
        ("image", "transfer", False),
    ],
)
def test_only_maps_of_tables_are_moved_without_flow(
    kind: str, interpolation: Interpolation, still: bool
) -> None:
    bundle = Bundle(Path(), "mine", 1, (), network={"kind": kind})
    for flow in _estimators(StylizeOptions(interpolation=interpolation), bundle, None):
        assert isinstance(flow, StillFlow) == still
