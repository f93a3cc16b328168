"""Finished pictures of a video, made by concurrent stages.

Decoding, key-frame selection, motion estimation and interpolation each run in their own thread, requests to
the stylizer in another one, while the consumer encodes. At most two key-frame intervals are held in memory,
plus the few frames queued between two stages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, NamedTuple

from device_runtime.interpolation.interpolator import Interpolator, TransferInterpolator, WarpInterpolator
from device_runtime.interpolation.segments import Segment, motions, segments
from device_runtime.interpolation.temporal_smoothing import TemporalSmoothing
from device_runtime.kernels import Transfer, Warp
from device_runtime.media.planes import Picture
from device_runtime.media.reader import Frame
from device_runtime.motion.flow import DisFlow, FlowEstimator, Motion, StillFlow, map_flow
from device_runtime.options import StylizeOptions
from device_runtime.prefetch import Prefetcher
from device_runtime.report import Stopwatch
from device_runtime.stylizers.fallback import Fallback
from device_runtime.stylizers.request_queue import KeyRequests
from device_runtime.stylizers.style_mix import StyleMix
from mvstylizer.bundle import Bundle
from mvstylizer.stylizer import BilateralGrid, Stylizer

NETWORK_PIXELS: Final = 512 * 288  # for bundles that do not declare it
QUEUED_FRAMES: Final = 3  # between two stages: absorbs the other stage's slow frames


class Finished(NamedTuple):
    """A finished picture.

    Attributes:
        frame: The frame as filmed.
        picture: The finished picture, in planes if `frame` has planes and maps are moved.
        is_key: Whether it is a key frame.
        grid: The map of a key frame, if it has one.
    """

    frame: Frame
    picture: Picture
    is_key: bool
    grid: BilateralGrid | None = None


class Pictures:
    """The finished pictures in presentation order, for one consumer.

    Attributes:
        key_frames: Indices in the video of the key frames yielded so far.
    """

    def __init__(self, finished: Iterator[Finished], requests: KeyRequests) -> None:
        self.key_frames: list[int] = []
        self._finished = finished
        self._requests = requests

    def __iter__(self) -> Iterator[Finished]:
        for each in self._finished:
            if each.is_key:
                self.key_frames.append(each.frame.index)
            yield each

    @property
    def fallback_key_frames(self) -> list[int]:
        """Those of `key_frames` that the fallback stylized."""
        fell_back = set(self._requests.fell_back)
        return [index for number, index in enumerate(self.key_frames) if number in fell_back]

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes sent to the stylizer and received from it so far."""
        return self._requests.bytes_sent, self._requests.bytes_received


@contextmanager
def open_pictures(
    frames: Iterable[Frame],
    style: StyleMix,
    options: StylizeOptions,
    *,
    stylizer: Stylizer,
    bundle: Bundle,
    watch: Stopwatch,
    fallback: Fallback | None = None,
    first: int = 0,
    carried: BilateralGrid | None = None,
    flow: FlowEstimator | None = None,
    again: Iterable[Frame] | None = None,
) -> Iterator[Pictures]:
    """Make the pictures of a video.

    Args:
        frames: In presentation order; read in another thread until this block is left.
        style: The style.
        options: Options of the run.
        stylizer: Stylizes key frames.
        bundle: Provides the TFLite kernels.
        watch: Records the time of every stage but ``encode``.
        fallback: Loads a stylizer for the key frames that `stylizer` does not answer.
        first: Index of the first frame to yield, a key frame. Earlier frames come from an interrupted run.
        carried: Smoothed map of that frame, from the interrupted run.
        flow: Motion estimator; defaults to `DisFlow` or `map_flow`, depending on the interpolation, and to
            `StillFlow` where the maps of a look-up table are moved.
        again: The same frames, decoded a second time: no picture of an intermediate frame is held then.

    Yields:
        The pictures; iterating over them raises any error of a stage.
    """
    flow, key_flow = _estimators(options, bundle, flow)
    with (
        _open_interpolator(options, bundle) as interpolator,
        Prefetcher() as stages,
        KeyRequests(
            stylizer,
            style,
            reply=options.requested_output,
            map_pixels=int(bundle.network.get("network_pixels", NETWORK_PIXELS)),
            watch=watch,
            protect_skin=options.protect == "skin",
            fallback=fallback,
        ) as requests,
    ):
        decoded = stages.ahead(watch.measured("decode", frames), QUEUED_FRAMES)
        divided = segments(
            decoded,
            options.selector(bundle),
            requests.submit,
            flow,
            watch,
            two_sided=options.two_sided,
            first=first,
            holds_pictures=again is None,
        )
        smoothing = TemporalSmoothing(options.temporal_smoothing_s, key_flow, carried)
        moves = stages.ahead(_moves(stages.ahead(divided, 1), flow, smoothing, watch), QUEUED_FRAMES)
        finished = stages.ahead(_finished(moves, interpolator, smoothing, watch, again), QUEUED_FRAMES)
        yield Pictures(finished, requests)


def _estimators(
    options: StylizeOptions, bundle: Bundle, flow: FlowEstimator | None
) -> tuple[FlowEstimator, FlowEstimator]:
    """Return the motion estimators for intermediate frames and from key frame to key frame."""
    if flow is not None:
        return flow, flow
    if bundle.kind == "lut" and options.interpolation == "transfer":
        return StillFlow(), StillFlow()
    if options.interpolation == "transfer":
        return map_flow(), map_flow(refined=True)
    shared = DisFlow()
    return shared, shared


class _Start(NamedTuple):
    """The key frames of a segment (without its intermediate frames) and the motion between them."""

    segment: Segment
    motion: Motion | None


class _Step(NamedTuple):
    """An intermediate frame, its motion to the previous and next key frame, and its position in time."""

    frame: Frame
    past: Motion
    following: Motion | None
    position: float


def _moves(
    divided: Iterable[Segment], flow: FlowEstimator, smoothing: TemporalSmoothing, watch: Stopwatch
) -> Iterator[_Start | _Step]:
    """Estimate the motion of each segment; never waits for a reply."""
    for segment in divided:
        following = segment.following
        to_next: list[Motion] = []
        with watch.measure("flow"):
            if following is not None:
                to_next = list(motions(segment.between[::-1], following, flow))
            from_key_to_key = smoothing.motion(segment)
        yield _Start(replace(segment, between=[]), from_key_to_key)
        to_previous = watch.measured("flow", motions(segment.between, segment.key, flow))
        for each, earlier in zip(segment.between, to_previous, strict=True):
            later = to_next.pop() if to_next else None
            yield _Step(each.frame, earlier, later, segment.position(each.frame))


def _finished(
    moves: Iterable[_Start | _Step],
    interpolator: Interpolator,
    smoothing: TemporalSmoothing,
    watch: Stopwatch,
    again: Iterable[Frame] | None,
) -> Iterator[Finished]:
    """Make the pictures of each segment, the key frame's first; waits for replies."""
    decoded = None if again is None else iter(again)
    for move in moves:
        if isinstance(move, _Step):
            filmed = move.frame.picture
            if decoded is not None:
                with watch.measure("decode"):
                    filmed = next(each.picture for each in decoded if each.index == move.frame.index)
            with watch.measure("interpolate"):
                picture = interpolator.between(filmed, *move[1:])
            yield Finished(move.frame, picture, False)
            continue
        past = smoothing.key(move.segment)
        following = smoothing.following(*move)
        with watch.measure("interpolate"):
            picture = interpolator.begin(past, following)
        yield Finished(move.segment.key.frame, picture, True, past.reply.grid)


@contextmanager
def _open_interpolator(options: StylizeOptions, bundle: Bundle) -> Iterator[Interpolator]:
    with Transfer(bundle.file("transfer")) as transfer:
        if options.interpolation == "transfer":
            yield TransferInterpolator(transfer, strength=options.strength)
            return
        warp = bundle.file("warp")
        with Warp(warp) as previous, Warp(warp) as following:
            yield WarpInterpolator(previous, following, transfer, strength=options.strength)
