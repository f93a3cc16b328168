from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from device_runtime.kernels import KernelError, KeyFrameScore

Luma = NDArray[np.uint8]
BIKES_CUTS = [30, 76, 137, 187, 242]  # seen by eye


@pytest.fixture(scope="module")
def score(kernels: Path) -> KeyFrameScore:
    return KeyFrameScore(kernels / "key_frame.tflite")


def bars(offset: int = 0) -> Luma:
    columns = np.arange(160) + offset
    return np.tile(np.where(columns // 8 % 2, 200, 40).astype(np.uint8), (90, 1))


def test_scene_cuts_of_a_real_clip_stand_out(score: KeyFrameScore, bikes: Path) -> None:
    with av.open(str(bikes)) as clip:
        frames = [
            cv2.resize(f.to_ndarray(format="gray"), (160, 90), interpolation=cv2.INTER_AREA)
            for f in clip.decode(video=0)
        ]
    decisions = [score(now, last, threshold=0.28, gap=1, max_gap=300) for last, now in pairwise(frames)]
    assert [i for i, d in enumerate(decisions, start=1) if d.is_key] == BIKES_CUTS


def test_the_same_frame_scores_zero(score: KeyFrameScore) -> None:
    decision = score(bars(), bars(), threshold=0.1, gap=1, max_gap=30)
    assert decision == (False, 0.0, (0.0, 0.0, 0.0))


def test_features_in_closed_form(score: KeyFrameScore) -> None:
    # 20 bars of 8 columns moved by 2: a quarter of the pixels change by 160, as many each way, and every edge
    # (two columns wide, one seen from each side) leaves half of itself without a neighbour one pixel away.
    decision = score(bars(2), bars(), threshold=1.0, gap=1, max_gap=30, weights=(1.0, 0.0, 2.0))
    difference, histogram, edges = decision.features
    assert difference == pytest.approx(0.25 * 160 / 255, abs=0.01)
    assert histogram == pytest.approx(0.0, abs=0.02)
    assert edges == pytest.approx(0.5, abs=0.05)
    assert decision.score == pytest.approx(difference + 2 * edges, abs=1e-6)
    assert decision.is_key


def test_a_long_gap_forces_a_key_frame(score: KeyFrameScore) -> None:
    gaps = [score(bars(), bars(), threshold=0.5, gap=gap, max_gap=12).is_key for gap in (1, 11, 12, 13)]
    assert gaps == [False, False, True, True]


def test_score_at_the_threshold_is_a_key_frame(score: KeyFrameScore) -> None:
    black, white = np.zeros((90, 160), np.uint8), np.full((90, 160), 255, np.uint8)
    at, above = (
        score(white, black, threshold=threshold, gap=1, max_gap=30, weights=(0.5, 0.5, 0.0))
        for threshold in (1.0, 1.01)
    )
    assert at == (True, 1.0, (1.0, 1.0, 0.0))
    assert not above.is_key


def test_wrong_thumbnails_are_named(score: KeyFrameScore) -> None:
    with pytest.raises(KernelError, match=r"Luma key is uint8 \(160, 90\), not uint8 \(90, 160\)"):
        score(bars(), bars().T, threshold=0.1, gap=1, max_gap=30)
    with pytest.raises(KernelError, match=r"Luma cur is float64"):
        score(bars().astype(np.float64), bars(), threshold=0.1, gap=1, max_gap=30)  # type: ignore[arg-type]
