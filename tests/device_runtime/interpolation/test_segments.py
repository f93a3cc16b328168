from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from fractions import Fraction

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage import data

from device_runtime.interpolation.segments import Segment, motions, segments
from device_runtime.key_frames.policy import CodecPolicy, KeyFrameSelector
from device_runtime.media.reader import Frame
from device_runtime.motion.flow import DisFlow
from device_runtime.report import Stopwatch
from mvstylizer.stylizer import StylizedFrame

SCENES = [cv2.resize(picture, (64, 48)) for picture in (data.astronaut(), data.coffee(), data.chelsea())]


def clip(codec_keys: list[bool], scene_lengths: list[int]) -> list[Frame]:
    scenes = [scene for scene, length in enumerate(scene_lengths) for _ in range(length)]
    return [
        Frame(i, SCENES[scene % 3], 10 * i, Fraction(1, 250), 10, key)
        for i, (scene, key) in enumerate(zip(scenes, codec_keys, strict=False))
    ]


def answered(sent: list[NDArray[np.uint8]]) -> Callable[[NDArray[np.uint8]], Future[StylizedFrame]]:
    def submit(key: NDArray[np.uint8]) -> Future[StylizedFrame]:
        sent.append(key)
        reply: Future[StylizedFrame] = Future()
        reply.set_result(StylizedFrame(key, None))
        return reply

    return submit


def divide(frames: list[Frame], max_interval: int, two_sided: bool = True) -> list[Segment]:
    selector = KeyFrameSelector(CodecPolicy(min_interval=1), max_interval=max_interval)
    watch = Stopwatch()
    return list(segments(frames, selector, answered([]), DisFlow(), watch, two_sided=two_sided))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.booleans(), min_size=1, max_size=40),
    st.lists(st.integers(1, 12), min_size=1),
    st.integers(1, 9),
)
def test_every_frame_is_in_one_segment_and_none_spans_a_cut(
    codec_keys: list[bool], scene_lengths: list[int], max_interval: int
) -> None:
    frames = clip(codec_keys, scene_lengths)
    found = divide(frames, max_interval)
    order = [each.frame.index for s in found for each in (s.key, *s.between)]
    assert order == list(range(len(frames)))
    for segment, after in zip(found, [*found[1:], None], strict=True):
        scenes = {id(each.frame.rgb) for each in (segment.key, *segment.between)}
        assert len(scenes) == 1
        assert len(segment.between) < max_interval
        same_scene = after is not None and after.key.frame.rgb is segment.key.frame.rgb
        assert segment.following is (after.key if after and same_scene else None)


def test_one_sided_segments_know_no_following_key_frame() -> None:
    frames = clip([i % 4 == 0 for i in range(12)], [12])
    assert [s.following for s in divide(frames, 30, two_sided=False)] == [None, None, None]


def test_position_is_by_time_not_by_count() -> None:
    times = [0, 1, 2, 10]
    frames = [Frame(i, SCENES[0], t, Fraction(1, 25), 1, i in (0, 3)) for i, t in enumerate(times)]
    first, last = divide(frames, 30)
    assert [first.position(each.frame) for each in first.between] == [0.1, 0.2]
    assert last.position(frames[3]) == 0.0


def test_a_key_frame_is_sent_before_the_next_frames_are_read() -> None:
    sent: list[NDArray[np.uint8]] = []
    read = []

    def reading() -> list[Frame]:
        for frame in clip([i % 4 == 0 for i in range(12)], [12]):
            read.append((frame.index, len(sent)))
            yield frame

    found = segments(
        reading(),
        KeyFrameSelector(CodecPolicy(min_interval=1)),
        answered(sent),
        DisFlow(),
        Stopwatch(),
        two_sided=True,
    )
    assert next(found).following is not None
    assert read == [(0, 0), (1, 1), (2, 1), (3, 1), (4, 1)], "no further than the next key frame"
    assert len(sent) == 2


def test_motions_come_one_for_each_frame() -> None:
    (segment,) = divide(clip([True] + [False] * 4, [5]), 30)
    found = list(motions(segment.between, segment.key, DisFlow()))
    assert len(found) == 4
    assert max(float(np.abs(m.flow).max()) for m in found) < 0.1
