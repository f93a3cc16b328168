"""The finished pictures of a video, made by stages that run beside each other.

Decoding, finding key frames, finding motion and making pictures each have a thread, the requests to the
stylizer another one, and whoever reads the pictures encodes them meanwhile. Never more than two key-frame
intervals are held, and the few frames that wait between two stages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from device_runtime.interpolation.affine_map import AffineMap
from device_runtime.interpolation.interpolator import Interpolator, TransferInterpolator, WarpInterpolator
from device_runtime.interpolation.segments import Segment, motions, segments
from device_runtime.interpolation.temporal_smoothing import TemporalSmoothing
from device_runtime.kernels import Transfer, Warp
from device_runtime.media.reader import Frame
from device_runtime.motion.flow import DisFlow, FlowEstimator, Motion, map_flow
from device_runtime.options import StylizeOptions
from device_runtime.prefetch import Prefetcher
from device_runtime.report import Stopwatch
from device_runtime.stylizers.fallback import Fallback
from device_runtime.stylizers.request_queue import KeyRequests
from device_runtime.stylizers.style_mix import StyleMix
from mvstylizer.bundle import Bundle
from mvstylizer.stylizer import Stylizer

NETWORK_PIXELS: Final = 512 * 288  # where a bundle does not say
FRAMES_AHEAD: Final = 3  # between two stages: enough that neither waits for the other's slow frames


class Finished(NamedTuple):
    """A frame, its finished picture (uint8 RGB (H, W, 3)), whether it is a key frame, and its map then."""

    frame: Frame
    picture: NDArray[np.uint8]
    is_key: bool
    affine_map: AffineMap | None = None


class Pictures:
    """The finished pictures in presentation order, for one reader.

    Attributes:
        key_frames: Those given so far, by their place in the video.
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
        """Those of `key_frames` that the fall-back stylized."""
        fell_back = set(self._requests.fell_back)
        return [index for number, index in enumerate(self.key_frames) if number in fell_back]

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes of the key frames' requests and of the replies so far."""
        return self._requests.bytes_up, self._requests.bytes_down


@contextmanager
def open_pictures(
    frames: Iterable[Frame],
    style: StyleMix,
    recipe: StylizeOptions,
    *,
    stylizer: Stylizer,
    bundle: Bundle,
    watch: Stopwatch,
    fallback: Fallback | None = None,
    first: int = 0,
    carried: AffineMap | None = None,
    flow: FlowEstimator | None = None,
) -> Iterator[Pictures]:
    """Make the pictures of a video.

    Args:
        frames: In presentation order; read in another thread until this block is left.
        style: The style.
        recipe: How.
        stylizer: An edge, or this machine.
        bundle: Holds the TFLite kernels.
        watch: Takes the time of all parts but ``encode``.
        fallback: Loads a stylizer for the key frames that `stylizer` does not answer.
        first: The frame to begin with, a key frame; those before it were made earlier.
        carried: The steadied map of that frame, found then.
        flow: Finds motion; None = `DisFlow` or `map_flow`, as interpolation and steadying need.

    Yields:
        The pictures; reading them raises what goes wrong in any stage.
    """
    selector = recipe.selector(bundle)
    if flow is not None:
        key_flow = flow
    elif recipe.interpolation == "transfer":
        flow, key_flow = map_flow(), map_flow(refined=True)
    else:
        flow = key_flow = DisFlow()
    map_pixels = int(bundle.network.get("network_pixels", NETWORK_PIXELS))
    with (
        _open_interpolator(recipe, bundle) as interpolator,
        Prefetcher() as stages,
        KeyRequests(
            stylizer, style, reply=recipe.asked_reply, map_pixels=map_pixels, watch=watch, fallback=fallback
        ) as requests,
    ):
        decoded = stages.ahead(watch.measured("decode", frames), FRAMES_AHEAD)
        divided = segments(
            decoded, selector, requests.submit, flow, watch, two_sided=recipe.two_sided, first=first
        )
        steadiness = TemporalSmoothing(recipe.steady_s, key_flow, carried)
        moves = stages.ahead(_moves(stages.ahead(divided, 1), flow, steadiness, watch), FRAMES_AHEAD)
        finished = stages.ahead(_finished(moves, interpolator, steadiness, watch), FRAMES_AHEAD)
        yield Pictures(finished, requests)


class _Start(NamedTuple):
    """The key frames around a segment (its intermediate frames are left out), and the motion between them."""

    segment: Segment
    motion: Motion | None


class _Step(NamedTuple):
    """An intermediate frame, its motion to the key frames before and behind, and where in time it lies."""

    frame: Frame
    past: Motion
    following: Motion | None
    position: float


def _moves(
    divided: Iterable[Segment], flow: FlowEstimator, steadiness: TemporalSmoothing, watch: Stopwatch
) -> Iterator[_Start | _Step]:
    """Find the motion in one segment after the other; waits for no reply."""
    for segment in divided:
        following = segment.following
        behind: list[Motion] = []
        with watch.measure("flow"):
            if following is not None:
                behind = list(motions(segment.between[::-1], following, flow))
            from_key_to_key = steadiness.motion(segment)
        yield _Start(replace(segment, between=[]), from_key_to_key)
        before = watch.measured("flow", motions(segment.between, segment.key, flow))
        for each, earlier in zip(segment.between, before, strict=True):
            later = behind.pop() if behind else None
            yield _Step(each.frame, earlier, later, segment.position(each.frame))


def _finished(
    moves: Iterable[_Start | _Step],
    interpolator: Interpolator,
    steadiness: TemporalSmoothing,
    watch: Stopwatch,
) -> Iterator[Finished]:
    """Make the pictures of one segment after the other, the key frame's first; waits for replies."""
    for move in moves:
        if isinstance(move, _Step):
            with watch.measure("interpolate"):
                picture = interpolator.between(move.frame.rgb, *move[1:])
            yield Finished(move.frame, picture, False)
            continue
        past = steadiness.key(move.segment)
        following = steadiness.following(*move)
        with watch.measure("interpolate"):
            picture = interpolator.begin(past, following)
        yield Finished(move.segment.key.frame, picture, True, past.reply.affine_map)


@contextmanager
def _open_interpolator(recipe: StylizeOptions, bundle: Bundle) -> Iterator[Interpolator]:
    with Transfer(bundle.file("transfer")) as transfer:
        if recipe.interpolation == "transfer":
            yield TransferInterpolator(transfer, strength=recipe.strength)
            return
        warp = bundle.file("warp")
        with Warp(warp) as before, Warp(warp) as behind:
            yield WarpInterpolator(before, behind, transfer, strength=recipe.strength)
