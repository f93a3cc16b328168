"""Upright pictures from a video's display matrix: the eight rotations and reflections that cameras write."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

Pixel = TypeVar("Pixel", bound=np.integer[Any])


class Orientation(NamedTuple):
    """How stored pixels become an upright picture: transpose first, then mirror.

    Attributes:
        transposed: Swap rows and columns, and so width and height.
        mirrored_x: Then swap left and right.
        mirrored_y: Then swap top and bottom.
    """

    transposed: bool = False
    mirrored_x: bool = False
    mirrored_y: bool = False

    @classmethod
    def from_display_matrix(cls, matrix: bytes | memoryview) -> Orientation:
        """Read the 3×3 matrix of ISO 14496-12 (``tkhd``), as exported by FFmpeg.

        A stored point (x, y) is shown at (a·x + c·y, b·x + d·y); only the signs of a, b, c, d matter here. A
        rotation that is not a multiple of 90 degrees is rounded to the nearest one.

        Args:
            matrix: Nine int32 in native byte order, rows (a, b, u), (c, d, v), (x, y, w).
        """
        a, b, _, c, d, *_ = np.frombuffer(matrix, np.int32, count=9).tolist()
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, a < 0, d < 0)
        return cls(True, c < 0, b < 0)

    @classmethod
    def from_exif(cls, number: int) -> Orientation:
        """Return the orientation of EXIF's tag 0x0112, 1 to 8; upright for any other number."""
        return _OF_EXIF.get(number, cls())

    @property
    def rotation(self) -> int:
        """Clockwise rotation to upright in degrees: 0, 90, 180 or 270, ignoring reflections."""
        if not self.transposed:
            return 180 if self.mirrored_y else 0
        return 90 if self.mirrored_x else 270

    def apply(self, picture: NDArray[Pixel]) -> NDArray[Pixel]:
        """Turn stored pixels upright.

        Args:
            picture: (H, W, C) or (H, W) as stored, of any type.

        Returns:
            The same type, (W, H, C) if transposed, contiguous; `picture` itself if it is already upright.
        """
        turned: Any = cv2.transpose(picture) if self.transposed else picture
        if self.mirrored_x or self.mirrored_y:
            turned = cv2.flip(turned, -1 if self.mirrored_x and self.mirrored_y else int(self.mirrored_x))
        return cast("NDArray[Pixel]", turned)

    def turn(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn a vector field upright, positions and directions.

        Args:
            vectors: float32 (h, w, 2), (x, y), on a grid over the picture as stored.

        Returns:
            float32, (w, h, 2) if transposed.
        """
        turned = vectors.transpose(1, 0, 2)[..., ::-1] if self.transposed else vectors
        signs = np.array([-1 if self.mirrored_x else 1, -1 if self.mirrored_y else 1], np.float32)
        return np.ascontiguousarray(turned[:: int(signs[1]), :: int(signs[0])] * signs)


_OF_EXIF: Final = {
    2: Orientation(False, True, False),
    3: Orientation(False, True, True),
    4: Orientation(False, False, True),
    5: Orientation(True, False, False),
    6: Orientation(True, True, False),
    7: Orientation(True, True, True),
    8: Orientation(True, False, True),
}
