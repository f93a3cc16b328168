"""Clips in four ways are one video with six tiles, and know their key frames and cuts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.data import footage
from benchmarks.runs.side_by_side import INTERVAL, TILE_WIDTH, Excerpt, make_side_by_side
from mvstylizer.bundle import default_bundle, load_bundle


def test_a_clip_has_six_tiles_and_a_time_line(tmp_path: Path) -> None:
    said: list[str] = []
    excerpt = Excerpt("Cut", "bikes", 28, 6)  # the second scene begins at frame 30
    lite = load_bundle(default_bundle().parent / "lite")
    (shown,) = make_side_by_side(tmp_path, said.append, excerpts=[excerpt], bundle=lite, threads=1, crf=1)
    assert len(said) == 1
    assert (shown.key_frames, shown.cuts) == ([0, 2], [2])
    assert "lite" in shown.about
    assert str(INTERVAL) in shown.about

    frames = footage.frames(shown.clip)
    height, width = (side // count for side, count in zip(frames[0].shape, (3, 2), strict=False))
    assert width == TILE_WIDTH
    assert len(frames) == excerpt.frames
    filmed = footage.frames(footage.clip("bikes"), 34)[28:]
    for shot, mosaic in zip(filmed, frames, strict=True):
        first = mosaic[:height, :width].astype(np.float32)
        assert np.abs(first - footage.fitted(shot, width, height)).mean() < 2

    for number, (way, levels) in enumerate(shown.apart.items()):
        column = slice(number * width, (number + 1) * width)
        every, interpolated = frames[3][:height, width:], frames[3][height : 2 * height, column]
        seen = np.abs(every.astype(np.float32) - interpolated).mean()
        assert abs(seen - levels[3]) < 1, way
        assert max(levels[0], levels[2]) < 0.1, "key frames differ by rounding only"
