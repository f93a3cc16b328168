"""The codec's own motion vectors: where the encoder found each block of a frame in an earlier one.

They come free with decoding, but record what was cheap to code, not what moved. So they are not a flow,
only a starting point for a search; see `device_runtime.motion.flow.DisFlow`. FFmpeg exports them for H.264,
MPEG-4 and MPEG-2 (``flags2=+export_mvs``), not for HEVC, VP9 or AV1.
"""

from __future__ import annotations

from typing import Final

import av
import numpy as np
from av.codec.context import Flags2
from av.sidedata.motionvectors import MotionVectors
from av.video.frame import PictureType
from av.video.stream import VideoStream
from numpy.typing import NDArray

from device_runtime.media.orientation import Orientation

CELL: Final = 8  # pixels; H.264 codes most motion in blocks of 8 or 16
MIN_MOTION: Final = 0.25  # pixels a frame; less tells nothing about distances


class CodecMotion:
    """Reads the vectors of one video's frames, given in presentation order.

    A vector points to the frame that the encoder chose, and FFmpeg only tells on which side that one lies. It
    is at most as far as the last frame that is not B; how far, the frame before tells, whose motion goes on.

    Args:
        stream: Its decoder is told to hand out vectors; nothing may have been decoded yet.
    """

    def __init__(self, stream: VideoStream) -> None:
        stream.codec_context.flags2 |= Flags2.export_mvs
        self._reference = 0
        self._step: NDArray[np.float32] | None = None

    def __call__(
        self, picture: av.VideoFrame, index: int, orientation: Orientation
    ) -> NDArray[np.float32] | None:
        """Return the motion from a frame to the one before it.

        Args:
            picture: As decoded.
            index: Its place in presentation order; call with each frame once.
            orientation: How stored pixels become upright.

        Returns:
            Backward motion, float32 (ceil(H / 8), ceil(W / 8), 2), upright, in parts of the frame's width and
            height; None for a frame coded without vectors into the past.
        """
        farthest = index - self._reference
        if picture.pict_type != PictureType.B:
            self._reference = index
        table = _into_the_past(picture) if farthest else None
        self._step = None if table is None else _step(table, _grid(picture), self._step, farthest)
        if self._step is None:
            return None
        step = self._step / np.array([picture.width, picture.height], np.float32)
        return orientation.turn(np.asarray(step, np.float32))


def _into_the_past(picture: av.VideoFrame) -> NDArray[np.void] | None:
    """Return a frame's vectors to earlier frames, as FFmpeg's ``AVMotionVector``; None if it has none."""
    vectors = picture.side_data.get("MOTION_VECTORS")
    if not isinstance(vectors, MotionVectors):
        return None
    table = vectors.to_ndarray()
    table = table[(table["source"] < 0) & (table["motion_scale"] > 0)]
    return table if len(table) else None


def _grid(picture: av.VideoFrame) -> tuple[int, int]:
    return -(-picture.height // CELL), -(-picture.width // CELL)


def _step(
    table: NDArray[np.void], grid: tuple[int, int], before: NDArray[np.float32] | None, farthest: int
) -> NDArray[np.float32]:
    """Return the motion to the frame before, in pixels; where none is coded, that of before goes on."""
    field, coded = _on_cells(table, grid)
    if before is None or before.shape != field.shape:
        before = np.broadcast_to(field[coded].mean(axis=0) / farthest, field.shape)
    squares = np.sum(before**2, axis=-1)
    tells = coded & (squares > MIN_MOTION**2)
    distance = farthest
    if tells.any():  # how many times the step before; the median, as an encoder's vectors hold outliers
        times = np.median(np.sum(field * before, axis=-1)[tells] / squares[tells])
        distance = min(max(1, round(float(times))), farthest)
    return np.where(coded[..., None], field / distance, before).astype(np.float32)


def _on_cells(
    table: NDArray[np.void], grid: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Lay vectors, in pixels, on cells, and tell which cells have one."""
    motion = np.stack([table["motion_x"], table["motion_y"]], -1) / table["motion_scale"][:, None]
    field, coded = np.zeros((*grid, 2), np.float32), np.zeros(grid, np.bool_)
    left = table["dst_x"] - table["w"] // 2
    top = table["dst_y"] - table["h"] // 2
    for down in (0, CELL):  # a block of 16 pixels covers two cells each way
        for across in (0, CELL):
            row, column = (top + down) // CELL, (left + across) // CELL
            covers = (table["w"] > across) & (table["h"] > down)
            covers &= (row >= 0) & (row < grid[0]) & (column >= 0) & (column < grid[1])
            field[row[covers], column[covers]] = motion[covers]
            coded[row[covers], column[covers]] = True
    return field, coded
