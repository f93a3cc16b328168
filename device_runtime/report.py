"""What a run did and how long each part of it took."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Final, TypeVar

PARTS: Final = ("decode", "key_frames", "edge", "flow", "interpolate", "encode")

Item = TypeVar("Item")


@dataclass(frozen=True)
class LabelUse:
    """What became of a label of the content's label image.

    Attributes:
        label: Its value: the grey level (``"255"``) or the colour (``"#87ceeb"``).
        share: Of the content photo, 0 to 1.
        style_share: Of the style photo; 0 where the style does not have it.
        own_style: Whether it took on the style's same label. False: it is too small in one of the two, and
            took on the whole style.
    """

    label: str
    share: float
    style_share: float
    own_style: bool


@dataclass(frozen=True)
class Report:
    """The result of stylizing one file.

    Attributes:
        frames: Frames read and written.
        key_frames: Those that the edge stylized.
        intermediate_frames: Those made on the device.
        seconds: Wall time by part, and ``total``. The parts run beside each other, so they may add up to more
            than the total. ``edge`` is the time of the requests themselves.
        interpolation: ``warp`` or ``transfer``; ``none`` for a photo.
        reply: What the edge sent back: ``image`` or ``map``.
        out: The file written.
        width: Pixels.
        height: Pixels.
        fallback_key_frames: Key frames (their places in the video, from 0) that the device stylized, because
            the edge did not answer.
        resumed_frames: Frames that an interrupted run had finished.
        bytes_up: Sent to the edge for the key frames that it stylized in this run: tensors, without gRPC's
            framing. 0 when nothing was sent.
        bytes_down: What came back for them.
        warnings: One line for each thing the user should know, such as a file that is cut short.
        key_frame_places: Where the key frames are in the video, from 0.
        labels: What became of each label of a photo's mask; empty without masks.
    """

    frames: int
    key_frames: int
    intermediate_frames: int
    seconds: dict[str, float]
    interpolation: str
    reply: str
    out: str
    width: int
    height: int
    fallback_key_frames: list[int] = field(default_factory=list)
    resumed_frames: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    warnings: list[str] = field(default_factory=list)
    key_frame_places: list[int] = field(default_factory=list)
    labels: list[LabelUse] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, fit for JSON."""
        return asdict(self)


class Stopwatch:
    """Adds up wall time by part of the work, in any thread; starts when it is made."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._seconds = dict.fromkeys(PARTS, 0.0)
        self._lock = threading.Lock()

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Add the time of a block to `part`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._seconds[part] += time.perf_counter() - began

    def measured(self, part: str, items: Iterable[Item]) -> Iterator[Item]:
        """Give `items` on, adding the time that it takes to get each of them to `part`."""
        source = iter(items)
        item = None
        while True:
            del item  # not held while the next one is awaited
            with self.measure(part):
                item = next(source, None)
            if item is None:
                return
            yield item

    def seconds(self) -> dict[str, float]:
        """Return the time of every part so far, and ``total``, in seconds rounded to the millisecond."""
        total = time.perf_counter() - self._began
        return {part: round(value, 3) for part, value in {**self._seconds, "total": total}.items()}
