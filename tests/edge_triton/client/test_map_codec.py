"""Packed affine maps: size, precision, and malformed input."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from edge_triton.client.map_codec import BUDGET_BYTES, MapCodecError, pack_map, unpack_map

RANDOM = np.random.default_rng(7)


def smooth_map(rows: int = 36, columns: int = 64) -> NDArray[np.float32]:
    y, x = np.mgrid[0:rows, 0:columns] / 20
    planes = [np.sin(x * (1 + k / 7) + k) * np.cos(y - k) * 0.4 + (k % 5 == 0) for k in range(12)]
    return np.stack(planes, -1).astype(np.float32)


def test_smooth_map_packs_small_and_within_half_a_step() -> None:
    affine_map = smooth_map()
    packed = pack_map(affine_map)
    assert len(packed) < affine_map.nbytes / 4
    assert np.abs(unpack_map(packed) - affine_map).max() <= 0.5 / 1024 + 1e-6


def test_rough_map_gets_coarser_steps_to_fit_the_budget() -> None:
    affine_map = smooth_map() + RANDOM.normal(0, 0.05, (36, 64, 12)).astype(np.float32)
    fine, fit = pack_map(affine_map, 10**6), pack_map(affine_map)
    assert len(fine) > BUDGET_BYTES >= len(fit)
    errors = [np.abs(unpack_map(packed) - affine_map).max() for packed in (fine, fit)]
    assert errors[0] <= 0.5 / 1024 + 1e-6 < errors[1] <= 0.5 / 128


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.integers(1, 5), st.just(12)),
        elements=st.floats(-400, 400, width=32),
    )
)
def test_any_map_round_trips(affine_map: NDArray[np.float32]) -> None:
    back = unpack_map(pack_map(affine_map))
    assert back.dtype == np.float32
    assert back.shape == affine_map.shape
    np.testing.assert_allclose(back, affine_map, atol=0.5 / 64 + 1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_values_outside_color_maps_are_rejected(value: float) -> None:
    affine_map = smooth_map(2, 2)
    affine_map[1, 1, 5] = value
    with pytest.raises(MapCodecError, match="outside the range of color maps"):
        pack_map(affine_map)


@pytest.mark.parametrize(
    "broken",
    [
        lambda good: b"",
        lambda good: good[:9],
        lambda good: b"JPEG" + good[4:],
        lambda good: good[:-5],
        lambda good: good[:40] + bytes(40) + good[80:],
        lambda good: good[:4] + struct.pack("<HHH", 36, 65, 1024) + good[10:],
        lambda good: good[:4] + struct.pack("<HHH", 36, 63, 1024) + good[10:],
        lambda good: good[:4] + struct.pack("<HHH", 65535, 65535, 1024) + good[10:],
        lambda good: good[:4] + struct.pack("<HHH", 0, 64, 1024) + good[10:],
        lambda good: good[:4] + struct.pack("<HHH", 36, 64, 0) + good[10:],
    ],
)
def test_malformed_bytes_are_rejected(broken) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(MapCodecError):
        unpack_map(broken(pack_map(smooth_map())))
