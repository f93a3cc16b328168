"""Stylize a video label by label: a label image per shot, and labels that move with the picture."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from device_runtime.frames import NETWORK_PIXELS
from device_runtime.interpolation.grid import weakened
from device_runtime.kernels import Transfer
from device_runtime.labels.blend import REACH, feathered
from device_runtime.labels.label_maps import LabelMaps
from device_runtime.labels.masks import Labels, MaskFiles, paired_regions, read_labels
from device_runtime.labels.shot_masks import ShotMasks
from device_runtime.labels.tracker import LabelTracker, TrackedLabels
from device_runtime.media.atomic_file import check_output
from device_runtime.media.photo import read_photo
from device_runtime.media.planes import luma_of
from device_runtime.media.reader import Frame
from device_runtime.media.writer import VideoWriter
from device_runtime.options import DEFAULT_OPTIONS, StylizeOptions
from device_runtime.report import LabelUse, Report, Stopwatch
from device_runtime.stylizers.fallback import Fallback
from mvstylizer.bundle import Bundle
from mvstylizer.stylizer import PALETTE, BilateralGrid, Stylizer

TONE_MAPPED: Final = "With label images, an HDR video gives an SDR result"


def stylize_labeled_video(
    source: Path,
    style_photo: Path,
    out: Path,
    masks: MaskFiles,
    *,
    options: StylizeOptions = DEFAULT_OPTIONS,
    stylizer: Stylizer,
    bundle: Bundle,
    progress: Callable[[int, int | None], None] | None = None,
    fallback: Fallback | None = None,
) -> Report:
    """Stylize a video label by label.

    At each key frame there is one request per label and one for the rest. A label that is lost, because it
    left the picture or was hidden, fades into the whole style, and so does what comes into view.

    Args:
        source: The video.
        style_photo: The style photo.
        out: The result.
        masks: `content` is the label image of the first frame, or a folder with one for the first frame of
            each shot, by name. A shot without one takes the whole style. `style` is that of the style photo.
        options: `interpolation`, `edge_output`, `two_sided` and `flow_init` do not apply.
        stylizer: Stylizes the key frames.
        bundle: Provides the kernels.
        progress: Called after each frame.
        fallback: See `stylize_video`.

    Raises:
        VideoError: The video cannot be read or the result cannot be written.
        PhotoError: A picture cannot be read.
        LabelImageError: A label image is missing, invalid or does not fit.
        OutputError: See `stylize_video`.
        MVStylizerError: The stylizer or a kernel fails.
    """
    watch = Stopwatch()
    check_output(out, source, style_photo, masks.style)
    style = read_photo(style_photo)
    run = _Run(style, read_labels(masks.style, style), ShotMasks(masks.content), options, watch)
    selector, keys, frames = options.selector(bundle), list[int](), 0
    with (
        replace(options, sdr=True).reader(source) as reader,  # labels are blended in RGB
        Transfer(bundle.file("transfer")) as transfer,
        ExitStack() as shots,
    ):
        writer = shots.enter_context(VideoWriter(out, reader.info, encoding=options.encoding))
        shots.callback(run.close)
        for frame in watch.measured("decode", reader):
            with watch.measure("key_frames"):
                decision = selector.decide(frame)
            if decision.is_cut:
                run.begin_shot(frame, stylizer, bundle, fallback)
            with watch.measure("interpolate"):
                picture = run.picture(frame, decision.is_key, transfer)
            with watch.measure("encode"):
                writer.write(picture, frame.pts, frame.duration)
            keys += [frame.index] * decision.is_key
            frames += 1
            if progress is not None:
                progress(frames, reader.info.frame_count)
    sent, received = run.traffic
    return Report(
        frames=frames,
        key_frames=len(keys),
        intermediate_frames=frames - len(keys),
        seconds=watch.seconds(),
        interpolation="transfer",
        edge_output="map",
        out=str(out),
        width=reader.info.width,
        height=reader.info.height,
        bytes_sent=sent,
        bytes_received=received,
        warnings=[
            *([TONE_MAPPED] if reader.is_tone_mapped and not options.sdr else []),
            *reader.warnings,
            *writer.warnings,
            *run.warnings,
        ],
        key_frame_indices=keys,
        labels=list(run.uses.values()),
    )


class _Run:
    """State of a run: the current shot's labels and maps."""

    def __init__(
        self,
        style: NDArray[np.uint8],
        style_labels: Labels,
        masks: ShotMasks,
        options: StylizeOptions,
        watch: Stopwatch,
    ) -> None:
        self.uses: dict[str, LabelUse] = {}
        self.traffic = (0, 0)
        self._style, self._style_labels, self._masks = style, style_labels, masks
        self._options, self._watch = options, watch
        self._fell_back = False
        self._maps: LabelMaps | None = None
        self._tracker: LabelTracker
        self._is_first = True
        self._last_s = 0.0

    @property
    def warnings(self) -> list[str]:
        outage = ["The edge did not answer for some key frames: the device stylized them"]
        return [*self._masks.warnings, *(outage if self._fell_back else [])]

    def begin_shot(self, frame: Frame, stylizer: Stylizer, bundle: Bundle, fallback: Fallback | None) -> None:
        """Read the labels of a shot and open its stylizers."""
        self.close()
        file, regions, values = self._masks.next(), np.zeros(frame.rgb.shape[:2], np.uint8), list[int]()
        if file is not None:
            labels = read_labels(file, frame.rgb)
            uses, regions, values = paired_regions(labels, self._style_labels)
            self.uses |= {use.label: use for use in uses}
        self._count = len(values) + 1
        self._maps = LabelMaps(
            self._style,
            [self._style_labels == value for value in values],
            match=PALETTE if self._options.match == "auto" else self._options.match,
            smoothing_s=self._options.temporal_smoothing_s,
            stylizer=stylizer,
            map_pixels=int(bundle.network.get("network_pixels", NETWORK_PIXELS)),
            watch=self._watch,
            protect_skin=self._options.protect == "skin",
            fallback=fallback,
        )
        self._tracker = LabelTracker(regions, luma_of(frame.picture))
        self._is_first = True

    def picture(self, frame: Frame, is_key: bool, transfer: Transfer) -> NDArray[np.uint8]:
        """Return a finished frame, uint8 RGB (H, W, 3)."""
        assert self._maps is not None, "every video begins with a shot"
        tracked = self._tracker.first() if self._is_first else self._tracker.next(luma_of(frame.picture))
        seconds = float(frame.pts * frame.time_base)
        if is_key:
            self._maps.key(frame.rgb, tracked.regions)
        if not self._is_first:
            self._maps.ease(seconds - self._last_s)
        self._is_first, self._last_s = False, seconds
        maps = [weakened(grid, self._options.strength) for grid in self._maps.maps]
        return _blended(frame.rgb, tracked, maps, transfer)

    def close(self) -> None:
        """End the current shot."""
        if self._maps is None:
            return
        sent, received = self._maps.traffic
        self.traffic = self.traffic[0] + sent, self.traffic[1] + received
        self._fell_back |= self._maps.fell_back
        self._maps.__exit__(None, None, None)
        self._maps = None


FULL: Final = 0.999  # confidence that counts as certain


def _blended(
    rgb: NDArray[np.uint8], tracked: TrackedLabels, maps: list[BilateralGrid], transfer: Transfer
) -> NDArray[np.uint8]:
    """Apply each region's map; the last one's also where the labels are not certain."""
    height, width = rgb.shape[:2]
    if len(maps) == 1:
        return transfer(rgb, maps[0])
    reach = max(1, round(REACH * math.hypot(height, width)))
    weights = feathered(rgb, tracked.regions, len(maps), reach)
    confidence = np.asarray(cv2.resize(tracked.confidence, (width, height)), np.float32)
    if confidence.min() < FULL:
        weights[:-1] *= confidence
        weights[-1] = 1 - weights[:-1].sum(0)
    total = np.zeros(rgb.shape, np.float32)
    for weight, grid in zip(weights, maps, strict=True):
        if weight.max() > 0:
            total += weight[..., None] * transfer(rgb, grid)
    return np.asarray(np.rint(total).clip(0, 255), np.uint8)
