"""Turn decoded frames upright with FFmpeg's filters, in their own pixel format."""

from __future__ import annotations

from typing import Any

import av
from av.filter import Graph

from device_runtime.media.orientation import Orientation
from device_runtime.media.video_info import orientation_of


class Uprighter:
    """Turns each frame by the display matrix that it carries; for one stream."""

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._layout: tuple[Any, ...] = ()

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Return the frame upright; the same object if it is."""
        orientation = orientation_of(frame)
        if orientation == Orientation():
            return frame
        layout = frame.width, frame.height, frame.format.name, orientation
        if self._graph is None or layout != self._layout:
            self._graph, self._layout = _graph(frame, orientation), layout
        self._graph.vpush(frame)
        return self._graph.vpull()


def _graph(frame: av.VideoFrame, orientation: Orientation) -> Graph:
    graph = Graph()
    nodes = [
        graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
    ]
    if orientation.transposed:
        nodes.append(graph.add("transpose", "dir=cclock_flip"))  # rows and columns swapped, no more
    if orientation.mirrored_x:
        nodes.append(graph.add("hflip"))
    if orientation.mirrored_y:
        nodes.append(graph.add("vflip"))
    graph.link_nodes(*nodes, graph.add("buffersink")).configure()
    return graph
