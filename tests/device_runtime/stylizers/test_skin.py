"""Skin is found by its hue, and a map changes it less than half as much."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab

from device_runtime.interpolation.grid import applied, sliced
from device_runtime.options import StylizeOptions
from device_runtime.pipeline import stylize_photo
from device_runtime.stylizers.skin import protected, skin_mask, skin_share
from mvstylizer.stylizer import AUTO, BilateralGrid, Reply, StylizedFrame

SKIN = [(246, 237, 228), (234, 218, 186), (215, 189, 150), (160, 126, 86), (130, 92, 67), (96, 65, 52)]
"""Six of the ten tones of the Monk Skin Tone Scale (2022), from light to dark."""
OTHER = [(135, 180, 230), (70, 130, 60), (128, 128, 128), (255, 255, 255), (220, 20, 40), (60, 60, 160)]

Photo = NDArray[np.uint8]


def portrait() -> tuple[Photo, NDArray[np.bool_]]:
    """Return a face before grass and sky, uint8 (180, 240, 3), and where the face is."""
    picture = np.empty((180, 240, 3), np.uint8)
    picture[:100], picture[100:] = OTHER[0], OTHER[1]
    face = np.zeros((180, 240), np.uint8)
    cv2.ellipse(face, (120, 90), (45, 60), 0, 0, 360, 1, -1)
    light = np.linspace(0.75, 1.1, 240)[None, :, None]
    picture[face > 0] = np.clip(light * np.array(SKIN[2]), 0, 255).astype(np.uint8).repeat(180, 0)[face > 0]
    return picture, face > 0


def night() -> BilateralGrid:
    """Return a map to a dark, blue picture, float32 (12, 16, 4, 3, 4)."""
    transform = np.array([[0.3, 0, 0.1, 0], [0, 0.35, 0.1, 0.02], [0, 0.1, 0.6, 0.1]], np.float32)
    return np.tile(transform, (12, 16, 4, 1, 1))


def rendered(grid: BilateralGrid, picture: Photo) -> NDArray[np.float32]:
    """Return the picture under a map, float32 RGB in the unit range."""
    unit = picture.astype(np.float32) / np.float32(255)
    return applied(sliced(grid, unit), unit).clip(0, 1)


def difference(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return ΔE2000 per pixel."""
    return np.asarray(deltaE_ciede2000(rgb2lab(a), rgb2lab(b)))


@pytest.mark.parametrize("color", SKIN[1:])
def test_skin_of_every_complexion_is_found(color: tuple[int, int, int]) -> None:
    assert skin_mask(np.array([[color]], np.float32) / 255)[0, 0] > 0.4


@pytest.mark.parametrize("color", OTHER)
def test_other_colors_are_not_skin(color: tuple[int, int, int]) -> None:
    assert skin_mask(np.array([[color]], np.float32) / 255)[0, 0] < 0.05


def test_skin_changes_less_than_half_as_much_and_the_rest_as_before() -> None:
    picture, face = portrait()
    grid = night()
    original = picture.astype(np.float32) / 255
    plain, held = rendered(grid, picture), rendered(protected(grid, picture), picture)
    changed, changed_less = difference(original, plain), difference(original, held)
    assert changed_less[face].mean() < 0.5 * changed[face].mean()
    far = cv2.dilate(face.astype(np.uint8), np.ones((91, 91), np.uint8)) == 0
    assert far.any()
    assert difference(plain, held)[far].max() < 0.5


def test_a_picture_without_skin_keeps_its_map() -> None:
    picture = np.full((90, 160, 3), OTHER[0], np.uint8)
    np.testing.assert_allclose(protected(night(), picture), night(), atol=1e-3)


def test_black_and_white_stays_black_and_white() -> None:
    picture, face = portrait()
    gray = np.tile(np.array([[0.2, 0.5, 0.1, 0.0]], np.float32), (6, 8, 4, 3, 1))
    held = rendered(protected(gray, picture), picture)
    assert np.ptp(held, axis=-1).max() < 1e-3
    before = picture[face].mean() / 255
    assert abs(held[face].mean() - before) < abs(rendered(gray, picture)[face].mean() - before)


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (33, 250)])
def test_any_size_fits_any_grid(size: tuple[int, int]) -> None:
    share = skin_share(np.full((*size, 3), SKIN[2], np.uint8), 6, 8, 4)
    assert share.shape == (6, 8, 4)
    assert np.isfinite(share).all()
    np.testing.assert_allclose(share.max(), 1, atol=0.2)


class NightStylizer:
    """Answers every frame with the same map."""

    def encode_style(self, style: Photo) -> NDArray[np.float32]:
        return np.array([AUTO], np.float32)

    def stylize(
        self, frame: Photo, style_code: NDArray[np.float32], *, r: float = 1.0, reply: Reply = "image"
    ) -> StylizedFrame:
        image = np.rint(255 * rendered(night(), frame)).astype(np.uint8)
        return StylizedFrame(None if reply == "map" else image, None if reply == "image" else night())

    def close(self) -> None:
        pass


def test_a_photo_is_protected_on_request(tmp_path: Path) -> None:
    picture, face = portrait()
    source, style, out = (tmp_path / name for name in ("face.png", "style.png", "out.png"))
    cv2.imwrite(str(source), picture[..., ::-1])
    cv2.imwrite(str(style), picture)
    found = {}
    for protect in ("none", "skin"):
        options = StylizeOptions(protect=protect)  # type: ignore[arg-type]
        stylize_photo(source, style, out, options=options, stylizer=NightStylizer())
        found[protect] = cv2.imread(str(out))[..., ::-1].astype(np.float32) / 255
    expected = rendered(protected(night(), picture), picture)
    np.testing.assert_allclose(found["skin"], expected, atol=1 / 255)
    assert difference(found["none"], found["skin"])[face].mean() > 5


def test_protection_needs_the_map() -> None:
    assert StylizeOptions(interpolation="warp", protect="skin").requested_output == "map"
    with pytest.raises(ValueError, match="needs edge_output 'map'"):
        StylizeOptions(interpolation="warp", edge_output="image", protect="skin")
