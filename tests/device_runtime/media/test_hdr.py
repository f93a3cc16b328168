"""HDR views against an independent tone map and BT.2100, and grids for codes against the exact way."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from device_runtime.interpolation.grid import applied, sliced
from device_runtime.media.color import HDR_TRANSFERS, HLG, PQ, Color
from device_runtime.media.hdr import Hdr, compressed, expanded
from device_runtime.media.hdr_grid import hdr_grid
from tests.device_runtime.hdr_reference import (
    TRANSFERS,
    delta_e,
    hdr_codes,
    scene_light,
    tone_mapped,
)

PHOTO = cv2.resize(data.coffee(), (120, 80), interpolation=cv2.INTER_AREA)
SCENE = scene_light(PHOTO)
LIMITS = {PQ: 1, HLG: 2}  # ΔE2000; the display gamma of HLG is a compromise


def light_of(transfer: int) -> NDArray[np.float32]:
    return hdr_codes(SCENE, transfer).astype(np.float32)


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_the_view_is_that_of_a_reference_tone_map(transfer: int) -> None:
    view = Hdr(transfer).view(light_of(transfer))
    difference = delta_e(view.rgb, tone_mapped(light_of(transfer), transfer)).mean()
    assert difference < LIMITS[transfer]


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_below_the_knee_the_view_is_the_sdr_picture(transfer: int) -> None:
    dim = np.minimum(PHOTO / 255.0, 0.9)
    view = Hdr(transfer).view(hdr_codes(dim**2.4, transfer).astype(np.float32))
    assert delta_e(view.rgb, dim).mean() < LIMITS[transfer]
    gray = np.repeat(np.linspace(0, 0.9, 64)[:, None], 3, 1)
    codes = hdr_codes(gray**2.4, transfer).astype(np.float32)
    np.testing.assert_allclose(Hdr(transfer).view(codes).rgb, gray, atol=0.006)


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_every_color_returns_from_its_view(transfer: int) -> None:
    """Colors outside BT.709 and highlights included, within a third of a 10-bit step on average."""
    hdr, rng = Hdr(transfer), np.random.default_rng(0)
    codes = rng.uniform(0.2, 0.85, (20_000, 3)).astype(np.float32)
    view = hdr.view(codes)
    assert view.rgb.min() < -0.1, "outside BT.709"
    assert view.gain.max() > 2.4
    back = hdr.codes(view.rgb, view)
    assert np.abs(back - codes).mean() * 1023 < 0.34


def test_white_is_203_nits_and_one_thousand_are_still_below_the_top() -> None:
    for transfer, white in ((PQ, 0.5807), (HLG, 0.7500)):
        light = compressed(np.ones(1, np.float32))
        assert Hdr(transfer).view(np.full((1, 3), white, np.float32)).rgb[0, 1] ** 2.4 == pytest.approx(
            float(light[0]), abs=0.005
        )
    assert 0.97 < compressed(np.array([1000 / 203], np.float32))[0] < 1


def test_the_tone_curve_is_smooth_and_has_an_inverse() -> None:
    light = np.linspace(0, 49, 4000, dtype=np.float32)
    curve = compressed(light)
    assert np.all(np.diff(curve) > 0)
    assert np.all(np.diff(curve) / np.diff(light) < 1.01)
    np.testing.assert_allclose(expanded(curve)[:400], light[:400], rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_a_style_makes_highlights_no_brighter_and_whites_do_not_shine(transfer: int) -> None:
    hdr = Hdr(transfer)
    light = np.array([[0.5] * 3, [4.0] * 3, [4.0] * 3], np.float32)
    view = hdr.view(hdr.from_light(light))
    styled = np.array(
        [[1.0] * 3, [1.0] * 3, [0.4] * 3], np.float32
    )  # wall painted white; lamp; darkened lamp
    after = hdr.view(hdr.codes(styled, view))
    assert (after.rgb[0] ** 2.4 * after.gain[0])[0] == pytest.approx(1, abs=0.11)
    assert (after.rgb[1] ** 2.4 * after.gain[1])[0] == pytest.approx(4, rel=0.05)
    np.testing.assert_allclose(after.rgb[2], 0.4, atol=0.01)


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_a_grid_for_codes_gives_the_styled_view(transfer: int) -> None:
    """A warm look with a tone curve, and cells that differ: close to the styled SDR view of every pixel."""
    base = np.array([[1.1, 0.05, 0, 0.02], [0, 0.95, 0.02, 0.01], [0.03, 0, 0.75, 0.03]])
    gains = np.linspace(1.15, 0.9, 8)[:, None, None]
    noise = np.random.default_rng(0).normal(0, 0.02, (9, 16, 1, 3, 4))
    grid = (gains * base + noise).astype(np.float32)
    codes, hdr = light_of(transfer), Hdr(transfer)
    own = hdr_grid(grid, hdr, codes)
    assert own.dtype == np.float32
    view = np.clip(hdr.view(codes).rgb, 0, 1)
    expected = np.clip(applied(sliced(grid, view), view), 0, 1)
    found = hdr.view(np.clip(applied(sliced(own, codes), codes), 0, 1)).rgb
    assert delta_e(found, expected).mean() < 1.5
    assert delta_e(view, expected).mean() > 4  # the look is not a small one


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_no_style_changes_nothing(transfer: int) -> None:
    identity = np.tile(np.eye(3, 4, dtype=np.float32), (9, 16, 8, 1, 1))
    own = hdr_grid(identity, Hdr(transfer), light_of(transfer))
    codes = light_of(transfer)
    assert np.abs(applied(sliced(own, codes), codes) - codes).max() * 1023 < 1.5


def test_only_hlg_and_pq_are_hdr() -> None:
    assert Hdr.of(Color(9, 1, 9, 14, 9)) is None
    assert {Hdr.of(Color(9, 1, 9, each, 9)) for each in HDR_TRANSFERS} == {Hdr(PQ), Hdr(HLG)}
