"""An input LUT: what a camera's log picture looks like on a display, applied before everything else."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Final

import av
import av.filter
import numpy as np
from numpy.typing import NDArray

from device_runtime.media.color import BT709, FULL_RANGE, UNSPECIFIED, Color
from device_runtime.media.cube_file import read_cube
from device_runtime.media.photo import MAX_PIXELS, read_photo

# H.273 matrix → the name by which FFmpeg's scale filter calls it.
MATRIX_NAMES: Final = {
    1: "bt709",
    4: "fcc",
    5: "bt601",
    6: "bt601",
    7: "smpte240m",
    9: "bt2020",
    10: "bt2020",
}
DEEP: Final = "gbrp16le"  # so that a log picture of ten bits keeps them until the LUT
SHALLOW: Final = "rgb24"
TIME_BASE: Final = Fraction(1, 1_000_000)

_Kind = tuple[str, int, int, int, int]


def read_content(path: Path, input_lut: str | None, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Read a photo to stylize, uint8 RGB (H, W, 3), with its input LUT applied.

    Raises:
        PhotoError: The photo cannot be read.
        CubeError: `input_lut` is not a 3D LUT.
    """
    photo = read_photo(path, max_pixels=max_pixels)
    return InputLut(Path(input_lut)).picture(photo) if input_lut else photo


class InputLut:
    """Applies a 3D LUT with FFmpeg's ``lut3d`` filter (tetrahedral interpolation). Not thread-safe.

    Args:
        path: A .cube file.

    Raises:
        CubeError: It is not a 3D LUT.
    """

    def __init__(self, path: Path) -> None:
        read_cube(path)  # FFmpeg's own messages name neither the line nor what is wrong
        self._path = path
        self._kind: _Kind | None = None
        self._graph: av.filter.Graph

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Return a decoded frame as RGB of eight bits after the LUT, with its time and side data.

        Args:
            frame: Any pixel format, with the tags of its matrix and range.
        """
        color = Color.of(frame)
        kind = (frame.format.name, frame.width, frame.height, color.conversion, color.range)
        if kind != self._kind:
            self._graph, self._kind = self._opened(frame, color), kind
        pts, time_base = frame.pts, frame.time_base
        self._graph.push(frame)
        shown = self._graph.pull()
        assert isinstance(shown, av.VideoFrame)
        shown.pts = pts
        if time_base:
            shown.time_base = time_base
        # The source's tags described the log picture.
        shown.colorspace, shown.color_primaries, shown.color_trc = UNSPECIFIED, BT709, BT709
        return shown

    def picture(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a picture after the LUT, uint8 RGB (H, W, 3)."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format=SHALLOW)
        frame.pts, frame.time_base = 0, TIME_BASE
        return np.ascontiguousarray(self(frame).to_ndarray(format=SHALLOW), np.uint8)

    def _opened(self, frame: av.VideoFrame, color: Color) -> av.filter.Graph:
        graph = av.filter.Graph()
        source = graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=frame.time_base or TIME_BASE,
        )
        scaling = {"flags": "accurate_rnd+full_chroma_inp+full_chroma_int+bicubic"}
        if not frame.format.is_rgb:
            scaling["in_color_matrix"] = MATRIX_NAMES.get(color.conversion, "bt709")
            scaling["in_range"] = "full" if color.range == FULL_RANGE else "limited"
        chain = [
            source,
            graph.add("scale", **scaling),
            graph.add("format", pix_fmts=DEEP),
            graph.add("lut3d", file=str(self._path), interp="tetrahedral"),
            graph.add("format", pix_fmts=SHALLOW),
            graph.add("buffersink"),
        ]
        for before, after in pairwise(chain):
            before.link_to(after)
        graph.configure()
        return graph
