from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage import data
from skimage.metrics import structural_similarity

from device_runtime.kernels import KeyFrameScore
from device_runtime.key_frames.policy import (
    AdaptivePolicy,
    CodecPolicy,
    ContentPolicy,
    EveryPolicy,
    KeyFramePolicy,
    KeyFramePolicyError,
    KeyFrameSelector,
    parse_policy,
)
from device_runtime.media.reader import Frame, VideoReader
from device_runtime.motion.flow import DisFlow, sample

BIKES_CUTS = [0, 30, 76, 137, 187, 242]
SCENES = [data.astronaut()[::2, ::2], data.coffee()[::2, ::2]]


@pytest.fixture(scope="module")
def score(kernels: Path) -> KeyFrameScore:
    return KeyFrameScore(kernels / "key_frame.tflite")


def no_score() -> KeyFrameScore:
    raise AssertionError("only the content policy needs the kernel")


def keys_of(path: Path, policy: KeyFramePolicy, max_interval: int = 30) -> list[int]:
    selector = KeyFrameSelector(policy, max_interval=max_interval)
    with VideoReader(path) as reader:
        return [frame.index for frame in reader if selector.decide(frame).is_key]


def still(index: int, scene: int = 0, codec_key: bool = False) -> Frame:
    return Frame(index, SCENES[scene], index, Fraction(1, 25), 1, codec_key)


def test_text_is_parsed_to_policies(score: KeyFrameScore) -> None:
    assert parse_policy("codec", no_score) == CodecPolicy()
    assert parse_policy("every:7", no_score) == EveryPolicy(7)
    assert (
        parse_policy("adaptive:0.8", no_score)
        == parse_policy("adaptive:.80", no_score)
        == AdaptivePolicy(0.8)
    )
    assert parse_policy("content", lambda: score, max_interval=12) == ContentPolicy(score, max_interval=12)


@pytest.mark.parametrize(
    "words", ["", "every", "every:", "every:0", "every:-3", "every:1.5", "every:31", "Codec", "every:٣"]
)
def test_other_text_is_refused(words: str) -> None:
    with pytest.raises(KeyFramePolicyError, match="every"):
        parse_policy(words, no_score)


@pytest.mark.parametrize("number", ["", "0", "1", "1.0", "7", "-0.5", "nan", "0.5x", "1e-1", "٠.٥"])
def test_a_quality_lies_between_0_and_1(number: str) -> None:
    with pytest.raises(KeyFramePolicyError, match="adaptive"):
        parse_policy(f"adaptive:{number}", no_score)


def test_codec_selects_intra_frames_and_fills_long_gaps(bikes: Path) -> None:
    assert keys_of(bikes, CodecPolicy()) == [0, 30, 60, 76, 106, 136, 137, 167, 187, 217, 242]


def test_all_intra_footage_is_not_all_key_frames() -> None:
    selector = KeyFrameSelector(parse_policy("codec", no_score))
    keys = [i for i in range(23) if selector.decide(still(i, codec_key=True)).is_key]
    assert keys == [0, 5, 10, 15, 20]


@pytest.mark.parametrize("footage", ["bikes", "bunny"])
def test_higher_quality_takes_more_key_frames(footage: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(footage)
    counts = [len(keys_of(path, AdaptivePolicy(quality))) for quality in (0.5, 0.7, 0.85)]
    assert counts == sorted(set(counts))


def poorest(frames: list[NDArray[np.uint8]], keys: list[int]) -> list[float]:
    """SSIM of each frame with the last key frame warped onto it, at full size; the ten worst."""
    found = []
    flow = DisFlow(0.5)
    prepared = [flow.prepare(frame) for frame in frames]
    for key, end in itertools.pairwise([*keys, len(frames)]):
        motion = flow.follow(prepared[key])
        for index in range(key + 1, end):
            moved = sample(
                frames[key].astype(np.float32), motion(prepared[index]).flow_on(*frames[0].shape[:2])
            )
            rebuilt = np.clip(np.rint(moved), 0, 255).astype(np.uint8)
            found.append(structural_similarity(rebuilt, frames[index], channel_axis=-1))
    return sorted(found)[:10]


def test_adaptive_key_frames_improve_the_worst_frames(bunny: Path) -> None:
    with VideoReader(bunny) as reader:
        frames = [np.ascontiguousarray(frame.rgb[::3, ::3]) for frame in reader]
    adaptive = keys_of(bunny, AdaptivePolicy(0.85))
    regular = keys_of(bunny, EveryPolicy(len(frames) // len(adaptive)))
    assert len(regular) >= len(adaptive)
    assert np.mean(poorest(frames, adaptive)) > np.mean(poorest(frames, regular)) + 0.03


def test_an_object_that_appears_briefly_gets_a_key_frame() -> None:
    def scene(index: int) -> Frame:
        rgb = cv2.resize(data.astronaut(), (320, 180))
        if 8 <= index < 20:
            left = 60 + 3 * (index - 8)
            rgb[30:150, left : left + 100] = cv2.resize(data.chelsea(), (100, 120))
        return Frame(index, rgb, index, Fraction(1, 25), 1, index == 0)

    selector = KeyFrameSelector(AdaptivePolicy(0.85))
    keys = [i for i in range(26) if selector.decide(scene(i)).is_key]
    assert keys[:2] == [0, 8]
    assert len(keys) <= 6


def test_every_counts_from_the_last_key_frame(bikes: Path) -> None:
    keys = keys_of(bikes, EveryPolicy(20))
    assert keys[:6] == [0, 20, 30, 50, 70, 76]
    assert set(BIKES_CUTS) < set(keys)


def test_content_asks_for_more_where_more_happens(bikes: Path, bunny: Path, score: KeyFrameScore) -> None:
    busy, calm = (keys_of(path, ContentPolicy(score)) for path in (bikes, bunny))
    assert set(BIKES_CUTS) < set(busy)
    assert len(busy) / 250 > 2 * len(calm) / 132


@pytest.mark.parametrize("words", ["codec", "content", "every:30", "adaptive:0.5"])
def test_a_cut_starts_a_key_frame_under_every_policy(words: str, score: KeyFrameScore) -> None:
    selector = KeyFrameSelector(parse_policy(words, lambda: score))
    decisions = [selector.decide(still(i, scene=i // 4 % 2)) for i in range(12)]
    assert [d.is_key for d in decisions] == [i % 4 == 0 for i in range(12)]
    assert [d.is_cut for d in decisions] == [i % 4 == 0 for i in range(12)]


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=40), st.integers(1, 12))
def test_no_interval_exceeds_the_maximum(codec_keys: list[bool], max_interval: int) -> None:
    selector = KeyFrameSelector(CodecPolicy(min_interval=1), max_interval=max_interval)
    frames = [still(i, codec_key=key) for i, key in enumerate(codec_keys)]
    keys = [frame.index for frame in frames if selector.decide(frame).is_key]
    assert keys[:1] == [0][: len(frames)]
    assert np.diff([*keys, len(frames)], prepend=0).max(initial=0) <= max_interval
    assert {i for i, key in enumerate(codec_keys) if key} <= set(keys)
