from __future__ import annotations

import random
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fl.average
from fl.average import Averaging, Mode, clip_scales, distance, merge
from fl.parameters import ParametersError, map_parameters, write_parameters

PLAIN = Averaging(clip=0, max_weight=0)
untimed = settings(deadline=None)
seeds = st.integers(0, 2**32 - 1)


def model(seed: int, scale: float = 1.0) -> dict[str, np.ndarray]:
    """Return parameters whose sizes are not multiples of a block, including a scalar."""
    rng = np.random.default_rng(seed)
    shapes = {"a.weight": (3, 2, 5, 5), "b": (fl.average.BLOCK + 7,), "c": ()}
    return {name: (scale * rng.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}


def plus(base: dict[str, np.ndarray], step: dict[str, np.ndarray], factor: float) -> dict[str, np.ndarray]:
    return {name: (base[name] + factor * step[name]).astype(np.float32) for name in base}


def same(left: dict[str, np.ndarray], right: dict[str, np.ndarray], rtol: float = 1e-6) -> None:
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].dtype == np.float32
        np.testing.assert_allclose(left[name], right[name], rtol=rtol, atol=1e-6)


@untimed
@given(st.lists(st.tuples(seeds, st.integers(1, 5000)), min_size=1, max_size=5))
def test_frames_mode_is_numpys_weighted_average(edges: list[tuple[int, int]]) -> None:
    models, frames = [model(seed) for seed, _ in edges], [n for _, n in edges]
    merged = merge(model(0), models, frames, PLAIN)
    same(
        merged,
        {
            name: np.average([m[name].astype(np.float64) for m in models], axis=0, weights=frames).astype(
                np.float32
            )
            for name in merged
        },
    )


@untimed
@given(st.lists(seeds, min_size=1, max_size=6), st.integers(0, 4))
def test_trimmed_mean_equals_a_full_sort(ids: list[int], tenths: int) -> None:
    models, trim = [model(seed) for seed in ids], tenths / 10
    merged = merge(model(0), models, [1] * len(ids), Averaging("trimmed", trim, clip=0))
    cut = int(trim * len(ids))
    for name, value in merged.items():
        stack = np.sort(np.stack([m[name] for m in models]).astype(np.float64), axis=0)
        np.testing.assert_allclose(value, stack[cut : len(ids) - cut].mean(axis=0), rtol=1e-6, atol=1e-6)


@untimed
@given(
    st.lists(st.tuples(seeds, st.integers(1, 99)), min_size=2, max_size=5),
    st.sampled_from(["frames", "equal", "trimmed"]),
    st.randoms(use_true_random=False),
)
def test_the_order_of_the_edges_does_not_matter(
    edges: list[tuple[int, int]], mode: Mode, rng: random.Random
) -> None:
    averaging, shuffled = Averaging(mode, clip=2), list(edges)
    rng.shuffle(shuffled)
    one, other = (
        merge(model(0), [model(seed) for seed, _ in order], [n for _, n in order], averaging)
        for order in (edges, shuffled)
    )
    same(one, other)


@untimed
@given(seeds, st.integers(1, 6), st.sampled_from(["frames", "equal", "trimmed"]))
def test_the_average_of_equal_updates_is_bit_identical(seed: int, count: int, mode: Mode) -> None:
    merged = merge(model(1), [model(seed)] * count, [1] * count, Averaging(mode, clip=3))
    for name, value in model(seed).items():
        if mode != "frames" or count in {1, 2, 4}:
            np.testing.assert_array_equal(merged[name], value)
        np.testing.assert_allclose(merged[name], value, rtol=1e-6)


@untimed
@given(st.lists(seeds, min_size=1, max_size=5), st.sampled_from(["frames", "equal", "trimmed"]))
def test_averages_stay_within_the_range_of_the_edges(ids: list[int], mode: Mode) -> None:
    models = [model(seed) for seed in ids]
    for name, value in merge(model(0), models, range(1, len(ids) + 1), Averaging(mode, clip=0)).items():
        stack = np.stack([m[name] for m in models])
        assert np.all(value >= stack.min(axis=0) - 1e-6)
        assert np.all(value <= stack.max(axis=0) + 1e-6)


@untimed
@given(st.lists(st.just(0.0) | st.floats(1e-9, 1e6), min_size=1, max_size=9), st.floats(0.5, 10))
def test_clipping_bounds_lengths_by_the_lower_median(lengths: list[float], clip: float) -> None:
    median = sorted(lengths)[(len(lengths) - 1) // 2]
    for length, scale in zip(lengths, clip_scales(lengths, clip), strict=True):
        assert 0 <= scale <= 1
        assert length * scale <= clip * median * (1 + 1e-12)
        assert scale == 1 or length > clip * median


def test_a_scaled_edge_moves_the_average_no_further_than_clipped() -> None:
    base, step = model(0), model(1, 0.01)
    honest, scaled = plus(base, step, 1), {name: 10 * value for name, value in plus(base, step, 1).items()}
    merged = merge(base, [honest, scaled], [100, 100], Averaging("frames", clip=3))
    assert distance(merged, base) <= 2.001 * distance(honest, base)  # (1 + 3) / 2 at most
    assert distance(merge(base, [honest, scaled], [100, 100], PLAIN), base) > 100 * distance(honest, base)


def test_an_edge_without_frames_counts_only_in_equal_mode() -> None:
    base, one, other = model(0), model(1), model(2)
    same(merge(base, [one, other], [7, 0], PLAIN), one)
    same(
        merge(base, [one, other], [7, 0], Averaging("equal", clip=0)),
        merge(base, [one, other], [1, 1], PLAIN),
    )


def test_nothing_to_average_is_an_error() -> None:
    for updates, frames in (([], []), ([model(1)], [0])):
        with pytest.raises(ParametersError, match="no edge trained on a frame"):
            merge(model(0), updates, frames, PLAIN)


@pytest.mark.parametrize("frames", [[1.0], [1.0, -1.0], [1.0, float("nan")]])
def test_invalid_weights_are_rejected(frames: list[float]) -> None:
    with pytest.raises(ValueError, match="finite, non-negative weights"):
        merge(model(0), [model(1), model(2)], frames, PLAIN)


@pytest.mark.parametrize("options", [{"trim": 0.5}, {"trim": -0.1}, {"clip": -1.0}, {"clip": float("nan")}])
def test_invalid_options_are_rejected(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must (be in|not be negative)"):
        Averaging("trimmed", **options)


@pytest.mark.parametrize("mode", ["frames", "trimmed"])
def test_ten_edges_need_less_than_three_models_of_memory(tmp_path: Path, mode: Mode) -> None:
    values = 850_000  # like the default stylizer, mostly in one tensor
    paths = [tmp_path / f"{edge}.safetensors" for edge in range(11)]
    for edge, path in enumerate(paths):
        rng = np.random.default_rng(edge)
        write_parameters(path, {"up3": rng.standard_normal((values,), np.float32)}, {})
    base, *updates = (map_parameters(path)[0] for path in paths)
    tracemalloc.start()
    merge(base, updates, [1] * len(updates), Averaging(mode))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * 4 * values
