"""Result of a run: what was done and how long each stage took."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Final, TypeVar

PARTS: Final = ("decode", "key_frames", "edge", "flow", "interpolate", "encode")

# Of every JSON object that the phone side prints. 2: key_frame_indices, bytes_sent, bytes_received and
# edge_output replace key_frame_places, bytes_up, bytes_down and reply.
SCHEMA_VERSION: Final = 2

Item = TypeVar("Item")


@dataclass(frozen=True)
class LabelUse:
    """How one label of the content's label image was stylized.

    Attributes:
        label: Its value: the gray level (``"255"``) or the color (``"#87ceeb"``).
        share: Fraction of the content photo that it covers, 0 to 1.
        style_share: Fraction of the style photo that it covers; 0 if the style does not have it.
        own_style: True if it was stylized after the same label of the style. False if it is too small in one
            of the two photos, so that the whole style was used.
    """

    label: str
    share: float
    style_share: float
    own_style: bool


@dataclass(frozen=True)
class Report:
    """Result of stylizing one file.

    Attributes:
        frames: Number of frames read and written.
        key_frames: Number of key frames, which went through the network.
        intermediate_frames: Number of frames interpolated on the device.
        seconds: Wall time by stage, and ``total``. Stages run concurrently, so their sum may exceed the
            total. ``edge`` is the time of the requests alone.
        interpolation: ``warp`` or ``transfer``; ``none`` for a photo.
        edge_output: What the edge returned: ``image`` or ``map``.
        out: The file written.
        width: Pixels.
        height: Pixels.
        fallback_key_frames: Indices (from 0) of the key frames that the device stylized because the edge did
            not answer.
        resumed_frames: Number of frames taken over from an interrupted run.
        bytes_sent: Tensor bytes sent to the edge in this run, without gRPC's framing; 0 without an edge.
        bytes_received: Tensor bytes received from it.
        warnings: One line for each thing the user should know, such as a truncated file.
        key_frame_indices: Indices of the key frames in the video, from 0.
        labels: How each label of a photo's label image was stylized; empty without label images.
        trace_id: W3C trace id of the requests to the edge, as in its logs; empty without an edge.
    """

    frames: int
    key_frames: int
    intermediate_frames: int
    seconds: dict[str, float]
    interpolation: str
    edge_output: str
    out: str
    width: int
    height: int
    fallback_key_frames: list[int] = field(default_factory=list)
    resumed_frames: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    warnings: list[str] = field(default_factory=list)
    key_frame_indices: list[int] = field(default_factory=list)
    labels: list[LabelUse] = field(default_factory=list)
    trace_id: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields and ``schema_version`` as JSON-serializable values."""
        return versioned(asdict(self))


def versioned(values: dict[str, Any]) -> dict[str, Any]:
    """Return `values` with ``schema_version`` as the first key."""
    return {"schema_version": SCHEMA_VERSION, **values}


class Stopwatch:
    """Accumulates wall time by stage, from any thread. The total starts on construction."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._seconds = dict.fromkeys(PARTS, 0.0)
        self._lock = threading.Lock()

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Add the duration of a block to `part`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._seconds[part] += time.perf_counter() - began

    def measured(self, part: str, items: Iterable[Item]) -> Iterator[Item]:
        """Yield from `items` and add the time spent waiting for each item to `part`."""
        source = iter(items)
        item = None
        while True:
            del item  # do not keep it alive while waiting for the next one
            with self.measure(part):
                item = next(source, None)
            if item is None:
                return
            yield item

    def seconds(self) -> dict[str, float]:
        """Return the time of every stage so far and ``total``, in seconds rounded to milliseconds."""
        total = time.perf_counter() - self._began
        return {part: round(value, 3) for part, value in {**self._seconds, "total": total}.items()}
