from __future__ import annotations

import itertools

import numpy as np
import pytest

from device_runtime.media.orientation import Orientation

RIGHT_ANGLES = [
    (a, b, c, d)
    for a, b, c, d in itertools.product((-1, 0, 1), repeat=4)
    if abs(a) == abs(d) != abs(b) and abs(b) == abs(c)
]


def shown_at(matrix: tuple[int, int, int, int], picture: np.ndarray) -> np.ndarray:
    """The definition of the display matrix, point by point, moved back into view."""
    a, b, c, d = matrix
    height, width = picture.shape[:2]
    points = {(a * x + c * y, b * x + d * y): picture[y, x] for y in range(height) for x in range(width)}
    left, top = (min(p[axis] for p in points) for axis in (0, 1))
    size = (height, width) if a else (width, height)
    upright = np.zeros((*size, 3), np.uint8)
    for (x, y), pixel in points.items():
        upright[y - top, x - left] = pixel
    return upright


@pytest.mark.parametrize("matrix", RIGHT_ANGLES)
def test_all_eight_orientations_follow_the_definition(matrix: tuple[int, int, int, int]) -> None:
    picture = np.arange(3 * 5 * 3, dtype=np.uint8).reshape(3, 5, 3)
    a, b, c, d = (value << 16 for value in matrix)
    stored = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], np.int32).tobytes()
    upright = Orientation.from_display_matrix(stored).apply(picture)
    np.testing.assert_array_equal(upright, shown_at(matrix, picture))
    assert upright.flags.c_contiguous


@pytest.mark.parametrize("matrix", RIGHT_ANGLES)
def test_vectors_and_their_positions_are_rotated_together(matrix: tuple[int, int, int, int]) -> None:
    stored = np.array([[value << 16 for value in matrix]], np.int32)
    orientation = Orientation.from_display_matrix(np.insert(stored, (2, 4), 0, axis=1).tobytes() + bytes(12))
    height, width = 4, 6
    hill = np.add.outer(10 * np.arange(height), 3 * np.arange(width)).astype(np.uint8)  # uphill is (3, 10)
    vectors = np.broadcast_to(np.array([3, 10], np.float32), (height, width, 2)).copy()
    vectors[0, 0] = 0
    upright = orientation.apply(np.dstack([hill] * 3))[..., 0].astype(np.float32)
    turned = orientation.turn(vectors)
    down, across = np.gradient(upright)
    uphill = np.dstack([across, down])
    uphill[upright == 0] = 0  # the one stored first
    np.testing.assert_array_equal(turned, uphill)
    assert turned.flags.c_contiguous


def test_all_eight_are_covered() -> None:
    assert len(RIGHT_ANGLES) == 8
