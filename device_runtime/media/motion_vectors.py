"""The codec's motion vectors: where the encoder found each block of a frame in an earlier one.

They are free with decoding but record what was cheap to encode, not what moved. So they only initialize a
motion search; see `device_runtime.motion.flow.DisFlow`. FFmpeg exports them for H.264, MPEG-4 and MPEG-2
(``flags2=+export_mvs``), not for HEVC, VP9 or AV1.
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
MIN_MOTION: Final = 0.25  # pixels per frame; slower motion does not determine the distance


class CodecMotion:
    """Reads the motion vectors of one video's frames, given in presentation order.

    A vector refers to a frame of the encoder's choice, and FFmpeg only exports whether that frame is earlier
    or later. It is at most as far away as the last frame that is not a B frame. The distance is estimated by
    assuming that the motion of the previous frame continues.

    Args:
        stream: Its decoder is configured to export vectors; nothing may have been decoded yet.
    """

    def __init__(self, stream: VideoStream) -> None:
        stream.codec_context.flags2 |= Flags2.export_mvs
        self._reference = 0
        self._step: NDArray[np.float32] | None = None

    def __call__(
        self, picture: av.VideoFrame, index: int, orientation: Orientation
    ) -> NDArray[np.float32] | None:
        """Return the motion from a frame to the previous one.

        Args:
            picture: The decoded frame.
            index: Its index in presentation order; call once per frame.
            orientation: How stored pixels become upright.

        Returns:
            Backward motion, float32 (ceil(H / 8), ceil(W / 8), 2), upright, as fractions of the frame's width
            and height; None for a frame without vectors to earlier frames.
        """
        farthest = index - self._reference
        if picture.pict_type != PictureType.B:
            self._reference = index
        table = _past_vectors(picture) if farthest else None
        self._step = None if table is None else _step(table, _grid(picture), self._step, farthest)
        if self._step is None:
            return None
        step = self._step / np.array([picture.width, picture.height], np.float32)
        return orientation.turn(np.asarray(step, np.float32))


def _past_vectors(picture: av.VideoFrame) -> NDArray[np.void] | None:
    """Return a frame's vectors to earlier frames, as FFmpeg's ``AVMotionVector``; None if there are none."""
    vectors = picture.side_data.get("MOTION_VECTORS")
    if not isinstance(vectors, MotionVectors):
        return None
    table = vectors.to_ndarray()
    table = table[(table["source"] < 0) & (table["motion_scale"] > 0)]
    return table if len(table) else None


def _grid(picture: av.VideoFrame) -> tuple[int, int]:
    return -(-picture.height // CELL), -(-picture.width // CELL)


def _step(
    table: NDArray[np.void], grid: tuple[int, int], previous: NDArray[np.float32] | None, farthest: int
) -> NDArray[np.float32]:
    """Return the motion to the previous frame, in pixels; where none is coded, the last motion continues."""
    field, coded = _on_cells(table, grid)
    if previous is None or previous.shape != field.shape:
        previous = np.broadcast_to(field[coded].mean(axis=0) / farthest, field.shape)
    squares = np.sum(previous**2, axis=-1)
    usable = coded & (squares > MIN_MOTION**2)
    distance = farthest
    if usable.any():  # multiples of the last step; the median, because encoders' vectors contain outliers
        times = np.median(np.sum(field * previous, axis=-1)[usable] / squares[usable])
        distance = min(max(1, round(float(times))), farthest)
    return np.where(coded[..., None], field / distance, previous).astype(np.float32)


def _on_cells(
    table: NDArray[np.void], grid: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the vectors in pixels on a grid of cells, and which cells have one."""
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
