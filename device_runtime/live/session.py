"""``mvstylizer stylize --live``: a camera or a stream, stylized while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from device_runtime.frames import NETWORK_PIXELS
from device_runtime.kernels import Transfer
from device_runtime.live.sink import LiveSink, open_sink
from device_runtime.live.source import Captured, LiveSource
from device_runtime.live.stylizer import LiveStyle
from device_runtime.media.color import Colour, ColourConverter
from device_runtime.media.reader import VideoError
from device_runtime.options import STEADY_S, StylizeOptions
from device_runtime.report import Stopwatch
from device_runtime.stylizers.fallback import Fallback
from device_runtime.stylizers.request_queue import KeyRequests
from device_runtime.stylizers.style_mix import StyleMix, StylePhotos
from mvstylizer.bundle import Bundle
from mvstylizer.stylizer import Stylizer

RECENT: Final = 300  # pictures whose latency is kept

LiveProgress = Callable[[int, float], None]
"""Takes the number of pictures shown and the latency of the last one in seconds."""


@dataclass(frozen=True)
class LiveReport:
    """What a live run did.

    Attributes:
        frames: Pictures shown.
        dropped: Pictures passed over, because newer ones had come.
        key_frames: Those that were stylized whole.
        fallback_key_frames: Those of them that the device stylized, because the edge did not answer.
        latency_ms: From a picture's arrival until it was handed on: ``median`` and ``p95`` of the last 300.
        fps: Pictures shown a second.
        seconds: How long the run was.
        bytes_up: Sent to the edge for key frames.
        bytes_down: What came back.
        out: Where it went.
        width: Pixels.
        height: Pixels.
        warnings: One line for each thing the user should know, such as a source that fell silent.
    """

    frames: int
    dropped: int
    key_frames: int
    fallback_key_frames: int
    latency_ms: dict[str, float]
    fps: float
    seconds: float
    bytes_up: int
    bytes_down: int
    out: str
    width: int
    height: int
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, fit for JSON."""
        return asdict(self)

    def summary(self) -> str:
        """Return the report in a few lines for people."""
        return (
            f"{self.out}\n{self.frames} frames at {self.fps:.1f} a second, {self.dropped} passed over, "
            f"{self.key_frames} key\n"
            f"latency {self.latency_ms['median']:.0f} ms, 95 % within {self.latency_ms['p95']:.0f} ms"
        )


def stylize_live(
    source: str,
    style_photo: StylePhotos,
    out: str,
    *,
    stylizer: Stylizer,
    bundle: Bundle,
    strength: float = 1.0,
    steady_s: float = STEADY_S,
    fallback: Fallback | None = None,
    seconds: float | None = None,
    progress: LiveProgress | None = None,
) -> LiveReport:
    """Stylize pictures as they come, until the source ends or Ctrl-C.

    Always the newest picture is taken: whatever came meanwhile is passed over, so that latency does not grow
    where the machine is too slow for the source.

    Args:
        source: See `LiveSource`.
        style_photo: The photo whose colours it shall take on, or several and their weights.
        out: See `open_sink`.
        stylizer: An edge, or this machine.
        bundle: Holds the TFLite kernels.
        strength: 0 (the original) to 1 (the full style).
        steady_s: See `TemporalSmoothing`.
        fallback: Loads a stylizer for key frames that `stylizer` does not answer.
        seconds: End after so many; None = do not.
        progress: Called after each picture.

    Raises:
        ValueError: `strength` or `steady_s` is out of range, or a StyleWeightError.
        VideoError: The source gives no pictures, or they cannot be written.
        MVStylizerError: The stylizer or the kernel fails.
    """
    StylizeOptions(strength=strength, steady_s=steady_s)
    style, watch = StyleMix.read(style_photo), Stopwatch()
    pixels = int(bundle.network.get("network_pixels", NETWORK_PIXELS))
    with (
        Transfer(bundle.file("transfer")) as transfer,
        KeyRequests(
            stylizer, style, reply="map", map_pixels=pixels, watch=watch, fallback=fallback
        ) as requests,
        LiveSource(source) as live,
    ):
        run = _Run(live, LiveStyle(requests, transfer, strength=strength, steady_s=steady_s), source, out)
        run.go(seconds, progress)
        return run.report(requests)


class _Run:
    """One run: from pictures as they come to pictures as they are shown."""

    def __init__(self, live: LiveSource, style: LiveStyle, source: str, out: str) -> None:
        self._live, self._style, self._source, self._out = live, style, source, out
        self._began = self._ended = time.monotonic()
        self._latencies: list[float] = []
        self._warnings: list[str] = []
        self._frames = 0
        self._size = 0, 0

    def go(self, seconds: float | None, progress: LiveProgress | None) -> None:
        """Go on until the source ends, the time is over, or Ctrl-C, which is how live runs are ended."""
        first = self._live.take()
        if first is None:
            raise VideoError(f"{self._source} has no pictures", "Name another source")
        colour = Colour.of(first.picture)
        colours = ColourConverter(colour)
        self._size = first.picture.height, first.picture.width
        self._began = first.arrived
        with open_sink(self._out, self._size, colour) as sink, suppress(KeyboardInterrupt):
            captured: Captured | None = first
            while captured is not None and (seconds is None or captured.arrived - self._began < seconds):
                rgb = colours.to_rgb(captured.picture, *self._size[::-1])
                self._show(rgb, captured.arrived, sink)
                if progress is not None:
                    progress(self._frames, self._latencies[-1])
                captured = self._next()

    def report(self, requests: KeyRequests) -> LiveReport:
        """Return what was done."""
        lasted = max(self._ended - self._began, 1e-3)
        median, p95 = np.percentile(self._latencies or [0.0], (50, 95)) * 1000
        return LiveReport(
            frames=self._frames,
            dropped=self._live.captured - self._live.taken,
            key_frames=self._style.key_frames,
            fallback_key_frames=len(requests.fell_back),
            latency_ms={"median": round(float(median), 1), "p95": round(float(p95), 1)},
            fps=round(self._frames / lasted, 2),
            seconds=round(lasted, 3),
            bytes_up=requests.bytes_up,
            bytes_down=requests.bytes_down,
            out=self._out,
            width=self._size[1],
            height=self._size[0],
            warnings=self._warnings,
        )

    def _next(self) -> Captured | None:
        """Take the next picture; a source that fails once it has begun ends the run as its end does."""
        try:
            return self._live.take()
        except VideoError as error:
            self._warnings.append(error.message)
            return None

    def _show(self, rgb: NDArray[np.uint8], arrived: float, sink: LiveSink) -> None:
        sink.show(self._style(rgb, arrived), arrived - self._began)
        self._ended = time.monotonic()
        self._latencies = [*self._latencies[1 - RECENT :], self._ended - arrived]
        self._frames += 1
