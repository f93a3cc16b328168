from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from device_runtime.kernels import KeyFrameScore
from device_runtime.key_frames import (
    CodecPolicy,
    ContentPolicy,
    EveryPolicy,
    KeyFramePolicy,
    KeyFramePolicyError,
    KeyFrameSelector,
    parse_policy,
)
from device_runtime.video import Frame, VideoReader

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


def test_words_become_policies(score: KeyFrameScore) -> None:
    assert parse_policy("codec", no_score) == CodecPolicy()
    assert parse_policy("every:7", no_score) == EveryPolicy(7)
    assert parse_policy("content", lambda: score, max_interval=12) == ContentPolicy(score, max_interval=12)


@pytest.mark.parametrize(
    "words", ["", "every", "every:", "every:0", "every:-3", "every:1.5", "every:31", "Codec", "every:٣"]
)
def test_other_words_are_refused(words: str) -> None:
    with pytest.raises(KeyFramePolicyError, match="every"):
        parse_policy(words, no_score)


def test_codec_takes_the_streams_own_and_fills_long_gaps(bikes: Path) -> None:
    assert keys_of(bikes, CodecPolicy()) == [0, 30, 60, 76, 106, 136, 137, 167, 187, 217, 242]


def test_every_counts_from_the_last_key_frame(bikes: Path) -> None:
    keys = keys_of(bikes, EveryPolicy(20))
    assert keys[:6] == [0, 20, 30, 50, 70, 76]
    assert set(BIKES_CUTS) < set(keys)


def test_content_asks_for_more_where_more_happens(bikes: Path, bunny: Path, score: KeyFrameScore) -> None:
    busy, calm = (keys_of(path, ContentPolicy(score)) for path in (bikes, bunny))
    assert set(BIKES_CUTS) < set(busy)
    assert len(busy) / 250 > 2 * len(calm) / 132


@pytest.mark.parametrize("words", ["codec", "content", "every:30"])
def test_a_cut_starts_a_key_frame_under_every_policy(words: str, score: KeyFrameScore) -> None:
    selector = KeyFrameSelector(parse_policy(words, lambda: score))
    decisions = [selector.decide(still(i, scene=i // 4 % 2)) for i in range(12)]
    assert [d.is_key for d in decisions] == [i % 4 == 0 for i in range(12)]
    assert [d.is_cut for d in decisions] == [i % 4 == 0 for i in range(12)]


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=40), st.integers(1, 12))
def test_no_interval_exceeds_the_maximum(codec_keys: list[bool], max_interval: int) -> None:
    selector = KeyFrameSelector(CodecPolicy(), max_interval=max_interval)
    frames = [still(i, codec_key=key) for i, key in enumerate(codec_keys)]
    keys = [frame.index for frame in frames if selector.decide(frame).is_key]
    assert keys[:1] == [0][: len(frames)]
    assert np.diff([*keys, len(frames)], prepend=0).max(initial=0) <= max_interval
    assert {i for i, key in enumerate(codec_keys) if key} <= set(keys)
