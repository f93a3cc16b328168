"""Labels follow a known motion, and fade where it leads out of view."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from device_runtime.labels.tracker import LabelTracker

FRAMES = 100
WIDTH, HEIGHT = 320, 200
SCENE = cv2.cvtColor(cv2.resize(data.astronaut(), (900, 900)), cv2.COLOR_RGB2GRAY)


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


def camera(index: int) -> NDArray[np.float64]:
    """The camera pans, turns and moves closer: from the frame's pixels to the scene's."""
    angle, zoom = 0.0025 * index, 1.0 - 0.0015 * index
    center = np.array([300 + 1.2 * index, 330 + 0.8 * index])
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([turn, center - turn @ np.array([WIDTH / 2, HEIGHT / 2])])


def filmed(picture: NDArray[np.uint8], index: int, how: int = cv2.INTER_AREA) -> NDArray[np.uint8]:
    return np.asarray(
        cv2.warpAffine(picture, camera(index), (WIDTH, HEIGHT), flags=how | cv2.WARP_INVERSE_MAP), np.uint8
    )


@pytest.mark.long
def test_labels_follow_a_moving_camera() -> None:
    noise = np.random.default_rng(0)
    labels = np.zeros(SCENE.shape, np.uint8)
    cv2.ellipse(labels, (370, 370), (75, 55), 20, 0, 360, 1, -1)
    cv2.circle(labels, (250, 300), 40, 2, -1)

    def seen(index: int) -> NDArray[np.uint8]:
        picture = filmed(SCENE, index, cv2.INTER_LINEAR)
        return np.clip(picture + noise.normal(0, 2, picture.shape), 0, 255).astype(np.uint8)

    tracker = LabelTracker(filmed(labels, 0, cv2.INTER_NEAREST), seen(0))
    for index in range(1, FRAMES + 1):
        tracked = tracker.next(seen(index))
    wanted = filmed(labels, FRAMES, cv2.INTER_NEAREST)
    assert (wanted == 1).sum() > 5000
    assert iou(tracked.regions == 1, wanted == 1) >= 0.9
    confidence = cv2.resize(tracked.confidence, (WIDTH, HEIGHT))
    assert confidence[wanted == 1].mean() > 0.9


def test_labels_follow_an_object_before_a_background() -> None:
    background = cv2.GaussianBlur(cv2.resize(SCENE[400:800, 100:800], (WIDTH, HEIGHT)), (3, 3), 0)
    texture = cv2.resize(
        cv2.cvtColor(data.chelsea(), cv2.COLOR_RGB2GRAY), (80, 60), interpolation=cv2.INTER_AREA
    )

    def shown(index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        frame, mask = background.copy(), np.zeros((HEIGHT, WIDTH), np.uint8)
        top, left = 20 + round(0.8 * index), 20 + round(1.5 * index)
        frame[top : top + 60, left : left + 80] = texture
        mask[top : top + 60, left : left + 80] = 1
        return frame, mask

    first, mask = shown(0)
    tracker = LabelTracker(mask, first)
    for index in range(1, FRAMES + 1):
        frame, wanted = shown(index)
        tracked = tracker.next(frame)
    assert iou(tracked.regions == 1, wanted == 1) >= 0.9


def test_what_comes_into_view_is_not_trusted() -> None:
    scene = cv2.resize(data.coffee(), (1200, 800))[..., 0].copy()

    def shown(index: int) -> NDArray[np.uint8]:
        return np.ascontiguousarray(scene[100 : 100 + HEIGHT, 4 * index : 4 * index + WIDTH])

    regions = np.zeros((HEIGHT, WIDTH), np.uint8)
    regions[:, 280:] = 1  # at the border through which the new comes
    tracker = LabelTracker(regions, shown(0))
    for index in range(1, 61):  # 240 pixels
        tracked = tracker.next(shown(index))
    confidence = cv2.resize(tracked.confidence, (WIDTH, HEIGHT))
    assert confidence[:, :60].mean() > 0.8
    assert confidence[:, 140:].mean() < 0.4
    assert iou(tracked.regions[:, :80] == 1, np.tile(np.arange(80) >= 40, (HEIGHT, 1))) > 0.85


def test_a_still_scene_keeps_its_labels() -> None:
    regions = np.asarray(np.indices((HEIGHT, WIDTH)).sum(0) // 60 % 3, np.uint8)
    tracker = LabelTracker(regions, filmed(SCENE, 0))
    for _ in range(20):
        tracked = tracker.next(filmed(SCENE, 0))
    assert (tracked.regions == regions).mean() > 0.99
    assert tracked.confidence.min() == pytest.approx(1)
