"""Live runs (``mvstylizer stylize --live``): stylize a camera or a stream while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import av
import numpy as np

from device_runtime.frames import NETWORK_PIXELS
from device_runtime.kernels import Transfer
from device_runtime.live.sink import LiveSink, open_sink
from device_runtime.live.source import Captured, LiveSource
from device_runtime.live.stylizer import LiveStyle
from device_runtime.media.color import Color, ColorConverter, bits_of
from device_runtime.media.encoder import hdr_encoder
from device_runtime.media.light_level import LightLevel
from device_runtime.media.orientation import Orientation
from device_runtime.media.planes import Picture, planes_of
from device_runtime.media.video_info import VideoError, base_layer_warning, check_colors
from device_runtime.options import DEFAULT_OPTIONS, StylizeOptions
from device_runtime.report import Stopwatch, versioned
from device_runtime.stylizers.fallback import Fallback
from device_runtime.stylizers.request_queue import KeyRequests
from device_runtime.stylizers.style_mix import StyleMix, StylePhotos, check_match
from mvstylizer.bundle import Bundle
from mvstylizer.stylizer import Stylizer

RECENT: Final = 300  # pictures included in the latency figures

LiveProgress = Callable[[int, float], None]
"""Takes the number of pictures shown and the latency of the last one in seconds."""


@dataclass(frozen=True)
class LiveReport:
    """Result of a live run.

    Attributes:
        frames: Number of pictures shown.
        dropped: Number of pictures skipped because newer ones had arrived.
        key_frames: Number of key frames, which went through the network.
        fallback_key_frames: Number of those that the device stylized because the edge did not answer.
        latency_ms: From a picture's arrival to its output: ``median`` and ``p95`` of the last 300 pictures.
        fps: Pictures shown per second.
        seconds: Duration of the run.
        bytes_sent: Tensor bytes sent to the edge.
        bytes_received: Tensor bytes received from it.
        out: The output.
        width: Pixels.
        height: Pixels.
        warnings: One line for each thing the user should know, such as a source that stopped sending.
    """

    frames: int
    dropped: int
    key_frames: int
    fallback_key_frames: int
    latency_ms: dict[str, float]
    fps: float
    seconds: float
    bytes_sent: int
    bytes_received: int
    out: str
    width: int
    height: int
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields and ``schema_version`` as JSON-serializable values."""
        return versioned(asdict(self))

    def summary(self) -> str:
        """Return the report as a few lines of text."""
        return (
            f"{self.out}\n{self.frames} frames at {self.fps:.1f} per second, {self.dropped} dropped, "
            f"{self.key_frames} key\n"
            f"latency {self.latency_ms['median']:.0f} ms, 95 % within {self.latency_ms['p95']:.0f} ms"
        )


def stylize_live(
    source: str,
    style_photo: StylePhotos,
    out: str,
    *,
    options: StylizeOptions = DEFAULT_OPTIONS,
    stylizer: Stylizer,
    bundle: Bundle,
    progress: LiveProgress | None = None,
    fallback: Fallback | None = None,
    seconds: float | None = None,
) -> LiveReport:
    """Stylize pictures as they arrive, until the source ends or Ctrl-C.

    Always takes the newest picture and drops those that arrived in the meantime, so that latency does not
    grow if the machine is too slow for the source.

    Args:
        source: See `LiveSource`.
        style_photo: The style photo, or several with weights.
        out: See `open_sink`.
        options: Only `strength`, `match`, `protect`, `temporal_smoothing_s`, `codec`, `preset`, `crf` and
            `sdr` apply.
        stylizer: Stylizes key frames.
        bundle: Provides the TFLite kernels.
        progress: Called after each picture.
        fallback: Loads a stylizer for key frames that `stylizer` does not answer.
        seconds: Maximum duration; None = unlimited.

    Raises:
        ValueError: The options do not suit a live run (see `StylizeOptions.check_live`), or a
            StyleWeightError.
        VideoError: The source sends no pictures, or they cannot be written.
        MVStylizerError: The stylizer or the kernel fails.
    """
    options.check_live()
    check_match(options.match, bundle)
    style, watch = StyleMix.read(style_photo, options.match), Stopwatch()
    pixels = int(bundle.network.get("network_pixels", NETWORK_PIXELS))
    with (
        Transfer(bundle.file("transfer")) as transfer,
        KeyRequests(
            stylizer,
            style,
            reply="map",
            map_pixels=pixels,
            watch=watch,
            protect_skin=options.protect == "skin",
            fallback=fallback,
        ) as requests,
        LiveSource(source) as live,
    ):
        live_style = LiveStyle(
            requests,
            transfer,
            strength=options.strength,
            temporal_smoothing_s=options.temporal_smoothing_s,
        )
        run = _Run(live, live_style, source, out, options)
        run.run(seconds, progress)
        return run.report(requests)


class _Run:
    """One live run, from source to sink."""

    def __init__(
        self, live: LiveSource, style: LiveStyle, source: str, out: str, options: StylizeOptions
    ) -> None:
        self._live, self._style, self._source, self._out = live, style, source, out
        self._options = options
        self._began = self._ended = time.monotonic()
        self._latencies: list[float] = []
        self._warnings: list[str] = []
        self._frames = 0
        self._size = 0, 0

    def run(self, seconds: float | None, progress: LiveProgress | None) -> None:
        """Run until the source ends, the time is up or Ctrl-C, the usual way to end a live run."""
        first = self._live.take()
        if first is None:
            raise VideoError(f"{self._source} has no pictures", "Choose another source")
        check_colors(self._source, first.picture)
        self._warnings += base_layer_warning(self._source, first.picture)
        color = Color.of(first.picture)
        colors = ColorConverter(color)
        to_sdr = self._options.sdr and color.is_hdr
        shown, bits = (color.as_sdr, 8) if to_sdr else (color, bits_of(first.picture))
        encoder = self._options.encoding.encoder(bits, live=True)
        encoder = hdr_encoder(encoder, shown, LightLevel() if to_sdr else LightLevel.of(first.picture))
        self._size = first.picture.height, first.picture.width
        self._began = first.arrived
        with (
            open_sink(self._out, self._size, shown, encoder, self._live.pixel_aspect) as sink,
            suppress(KeyboardInterrupt),
        ):
            captured: Captured | None = first
            while captured is not None and (seconds is None or captured.arrived - self._began < seconds):
                self._show(self._picture(captured.picture, colors, color), captured.arrived, sink)
                if progress is not None:
                    progress(self._frames, self._latencies[-1])
                captured = self._next()

    def _picture(self, frame: av.VideoFrame, colors: ColorConverter, color: Color) -> Picture:
        """Return a frame in the size of the first one: its planes, or RGB if it has none."""
        size = self._size[1], self._size[0]
        planes = planes_of(frame, color, Orientation(), size)
        if planes is None:
            return colors.to_rgb(frame, *size)
        return planes.sdr() if self._options.sdr else planes

    def report(self, requests: KeyRequests) -> LiveReport:
        """Return the report."""
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
            bytes_sent=requests.bytes_sent,
            bytes_received=requests.bytes_received,
            out=self._out,
            width=self._size[1],
            height=self._size[0],
            warnings=self._warnings,
        )

    def _next(self) -> Captured | None:
        """Take the next picture; a source that fails after it has started ends the run normally."""
        try:
            return self._live.take()
        except VideoError as error:
            self._warnings.append(error.message)
            return None

    def _show(self, picture: Picture, arrived: float, sink: LiveSink) -> None:
        sink.show(self._style(picture, arrived), arrived - self._began)
        self._ended = time.monotonic()
        self._latencies = [*self._latencies[1 - RECENT :], self._ended - arrived]
        self._frames += 1
